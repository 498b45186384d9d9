"""What axis 0 of a model's tensors counts: the one notion of a batch that data, accuracy checks, measurements, shape
profiles, engines and served models share. It is found out by running the model (``calibration.batch_probe``) and
travels on the tensor specs, ``TensorSpec.batch``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from engines.engine import Array, Feed, TensorSpec, batchable


@dataclass(frozen=True)
class Batching:
    """``inputs`` and ``outputs`` name the tensors whose axis 0 counts independent samples, ``frozen`` the inputs whose
    axis 0 is dynamic by name only: input name -> the one number of rows the graph runs with. ``why`` is a sentence.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    frozen: dict[str, int] = field(default_factory=dict)
    why: str = ""

    def of_inputs(self, specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
        """``specs`` with what is known of them; a frozen axis is static."""
        return tuple(replace(_frozen(s, self.frozen), batch=s.name in self.inputs) for s in specs)

    def of_outputs(self, specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
        """``specs`` with what is known of them."""
        return tuple(replace(spec, batch=spec.name in self.outputs) for spec in specs)


def _frozen(spec: TensorSpec, rows: Mapping[str, int]) -> TensorSpec:
    return replace(spec, shape=(rows[spec.name], *spec.shape[1:])) if spec.name in rows else spec


def assumed(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], why: str) -> Batching:
    """What the shapes say where nothing can be run: every dynamic first axis is the batch, if all inputs have one."""
    if not inputs or not all(_open(spec) for spec in inputs):
        return Batching(why=why)
    names = tuple(spec.name for spec in inputs)
    return Batching(names, tuple(spec.name for spec in outputs if _open(spec)), why=why)


def _open(spec: TensorSpec) -> bool:
    return bool(spec.shape) and isinstance(spec.shape[0], str)


def row(feed: Feed, batched: Sequence[str], start: int, count: int = 1) -> dict[str, Array]:
    """Rows ``start`` to ``start + count`` of the inputs ``batched``; the others as they are."""
    return {name: array[start : start + count] if name in batched else array for name, array in feed.items()}


def rows_of(feed: Feed, batched: Sequence[str]) -> int:
    """Samples in ``feed``: the rows in which the inputs ``batched`` agree; 0 where they do not, or something is missing
    or no array, which an engine is to refuse, or to broadcast.
    """
    rows = {array.shape[0] if isinstance(array := feed.get(name), np.ndarray) and array.ndim else 0 for name in batched}
    return rows.pop() if len(rows) == 1 else 0


def may_join(first: Feed, second: Feed, batched: Sequence[str]) -> bool:
    """Whether two feeds fit into one: equal shapes behind axis 0, and inputs that are not batched equal in value."""
    return all(
        array.shape[1:] == second[name].shape[1:] if name in batched else _equal(array, second[name])
        for name, array in first.items()
    )


def _equal(first: Array, second: Array) -> bool:
    return first is second or (first.shape == second.shape and first.tobytes() == second.tobytes())


def join(feeds: Sequence[Feed], batched: Sequence[str]) -> dict[str, Array]:
    """Feeds that ``may_join`` as one."""
    return {
        name: np.concatenate([feed[name] for feed in feeds]) if name in batched else array
        for name, array in feeds[0].items()
    }


def batched_names(specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Names of the inputs along whose axis 0 samples may be joined; none where they cannot be."""
    return tuple(spec.name for spec in specs if spec.batched) if batchable(specs) else ()
