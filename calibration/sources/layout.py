"""How the arrays of one file or dict are cut into samples: what the first axis means.

With an input of rank r, an array of rank r + 1 is a stack of samples; of rank r - 1 one sample without its batch axis.
Of rank r it is a batch where axis 0 counts samples (``TensorSpec.batch``), chunks where the model has a fixed number of
rows, else one feed as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from calibration.sources.inputs import shape_fits, shape_text, spec_text
from engines.engine import Array, TensorSpec
from engines.feeds.batching import batched_names
from graphs.errors import BadInput

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Cut:
    """How one array becomes samples: ``rows`` of axis 0 each (``None``: the whole array, the same for all samples),
    then the leading axis dropped or added, or rows repeated until there are ``filled``. ``each`` tells that a block is
    a batch of so many samples.
    """

    rows: int | None
    drop_axis: bool = False
    add_axis: bool = False
    filled: int | None = None
    each: int = 1

    def apply(self, block: Array) -> Array:
        if self.drop_axis:
            dropped: Array = block.reshape(block.shape[1:])
            return dropped
        if self.filled is not None:
            return block[np.arange(self.filled) % len(block)]
        return block[None] if self.add_axis else block

    def shape(self, stored: Shape) -> Shape:
        """The shape of one sample of an array of shape ``stored``."""
        if self.drop_axis:
            return stored[1:] if self.each == 1 else (1, *stored[2:])
        if self.add_axis:
            return (1, *stored)
        return stored if self.rows is None else (self.filled or self.rows, *stored[1:])


@dataclass(frozen=True)
class Layout:
    """``count`` samples, and for each input how they are cut out of its array.

    ``left_out`` rows at the end are too few for a chunk of the model's fixed batch; ``filled`` tells that there were
    too few for even one, so that rows are repeated; ``empty`` says which input has an axis of length 0.
    """

    count: int
    cuts: dict[str, Cut]
    left_out: int = 0
    filled: bool = False
    empty: str = ""


WHOLE, ROW, STACKED, BARE = Cut(None), Cut(1), Cut(1, drop_axis=True), Cut(None, add_axis=True)


def plan_layout(shapes: Mapping[str, Shape], specs: Sequence[TensorSpec], where: str) -> Layout:
    """Decide by the ranks of ``shapes`` (input name -> shape as stored). Raises ``BadInput`` where nothing fits."""
    extra = {s.name: len(shapes[s.name]) - len(s.shape) for s in specs}
    if set(extra.values()) <= {0, 1} and 1 in extra.values():
        cuts = _cut_stack(shapes, specs, extra)
    elif -1 in extra.values() and all(_bare(shapes[s.name], s, extra[s.name]) for s in specs):
        cuts = {s.name: BARE if extra[s.name] else WHOLE for s in specs}
    elif set(extra.values()) == {0}:
        cuts = _cut_own_rank(shapes, specs)
    else:
        raise _misfit(shapes, specs, where)
    return _counted(shapes, specs, cuts, where)


def _cut_stack(shapes: Mapping[str, Shape], specs: Sequence[TensorSpec], extra: Mapping[str, int]) -> dict[str, Cut]:
    """A stack of samples, or of batches of one length: then each row is a sample."""
    cuts = {name: STACKED if n else WHOLE for name, n in extra.items()}
    stacked = [name for name in batched_names(specs) if extra[name]]
    lengths = {shapes[name][1] for name in stacked}
    if len(stacked) == sum(extra.values()) and len(lengths) == 1 and (each := lengths.pop()) > 1:
        cuts |= dict.fromkeys(stacked, Cut(1, drop_axis=True, each=each))
    return cuts


def _bare(shape: Shape, spec: TensorSpec, extra: int) -> bool:
    """Whether an array can be one sample that lacks its batch axis, or an input that has none."""
    if extra == 0:
        return not spec.batched and shape_fits(shape, spec)
    return extra == -1 and bool(spec.shape)


def _cut_own_rank(shapes: Mapping[str, Shape], specs: Sequence[TensorSpec]) -> dict[str, Cut]:
    if batched := batched_names(specs):
        return {s.name: ROW if s.name in batched else WHOLE for s in specs}
    likely = [s for s in specs if s.batched]
    if all(shape_fits(shapes[s.name], s, empty=True) for s in specs):
        # A batch that only some inputs carry can be cut as long as no other input's shape depends on it.
        if any(s.dynamic for s in specs if s not in likely):
            return {s.name: WHOLE for s in specs}
        return {s.name: ROW if s in likely else WHOLE for s in specs}
    units = {s.name: _unit(s) for s in specs}
    counts = {name: -(-shapes[name][0] // rows) for name, rows in units.items() if rows is not None}
    several = any(count > 1 for count in counts.values())
    shared = {s.name for s in specs if several and counts.get(s.name) == 1 and shape_fits(shapes[s.name], s)}
    return {name: WHOLE if rows is None or name in shared else Cut(rows) for name, rows in units.items()}


def _unit(spec: TensorSpec) -> int | None:
    """Rows of axis 0 that one sample takes: the model's static batch; None where axis 0 counts no samples."""
    if not spec.shape:
        return None
    first = spec.shape[0]
    if isinstance(first, int):
        return first if first > 0 else 1
    return 1 if spec.batched else None


def _counted(shapes: Mapping[str, Shape], specs: Sequence[TensorSpec], cuts: dict[str, Cut], where: str) -> Layout:
    rows = {s.name: shapes[s.name][0] for s in specs if cuts[s.name].rows is not None}
    if 0 in rows.values():
        raise BadInput("holds no samples (the first axis is empty)", where=where)
    filled = {name: Cut(None, filled=cuts[name].rows) for name, n in rows.items() if n < (cuts[name].rows or 1)}
    cuts = {**cuts, **filled}
    counts = {name: 1 if name in filled else n // (cuts[name].rows or 1) * cuts[name].each for name, n in rows.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name!r} {n}" for name, n in counts.items())
        raise BadInput(f"inputs hold different numbers of samples: {found}", where=where)
    left_out = max((n % (cuts[name].rows or n) for name, n in rows.items()), default=0)
    empty = next((text for s in specs if (text := _empty_axis(s, cuts[s.name].shape(shapes[s.name])))), "")
    count = 0 if empty else next(iter(counts.values()), 1)
    return Layout(count, cuts, left_out, bool(filled), empty)


def _empty_axis(spec: TensorSpec, shape: Shape) -> str:
    axis = next((a for a, (n, want) in enumerate(zip(shape, spec.shape, strict=False)) if n == 0 != want), None)
    return "" if axis is None else f"{spec.name!r} is empty (axis {axis} has length 0)"


def _misfit(shapes: Mapping[str, Shape], specs: Sequence[TensorSpec], where: str) -> BadInput:
    return BadInput(
        "arrays do not fit the model's inputs: " + "; ".join(f"{s.name!r} {shape_text(shapes[s.name])}" for s in specs),
        where=where,
        expected="; ".join(f"{s.name!r} {spec_text(s)}" for s in specs)
        + ", or a stack of these along a new first axis",
    )
