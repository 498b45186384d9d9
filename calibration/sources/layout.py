"""How the arrays of one file or dict are cut into samples: what the first axis means.

With an input of rank r, an array of rank r + 1 is a stack of samples; of rank r - 1 one sample without its batch axis;
of rank r a batch along axis 0, or one feed where the model's shapes are matched as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calibration.sources.inputs import shape_fits, shape_text, spec_text
from engines.engine import Array, TensorSpec, joinable
from engines.errors import BadInput

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Cut:
    """How one array becomes samples: ``rows`` of axis 0 each (``None``: the whole array, the same for all samples),
    then the leading axis dropped or added.
    """

    rows: int | None
    drop_axis: bool = False
    add_axis: bool = False

    def apply(self, block: Array) -> Array:
        if self.drop_axis:
            dropped: Array = block.reshape(block.shape[1:])
            return dropped
        return block[None] if self.add_axis else block


@dataclass(frozen=True)
class Layout:
    """``count`` samples, and for each input how they are cut out of its array."""

    count: int
    cuts: dict[str, Cut]


WHOLE, ROW, STACKED, BARE = Cut(None), Cut(1), Cut(1, drop_axis=True), Cut(None, add_axis=True)


def plan_layout(shapes: Mapping[str, Shape], specs: Sequence[TensorSpec], where: str) -> Layout:
    """Decide by the ranks of ``shapes`` (input name -> shape as stored). Raises ``BadInput`` where nothing fits."""
    extra = {s.name: len(shapes[s.name]) - len(s.shape) for s in specs}
    if set(extra.values()) <= {0, 1} and 1 in extra.values():
        cuts = {name: STACKED if n else WHOLE for name, n in extra.items()}
    elif all(extra[s.name] == (-1 if s.shape else 0) for s in specs) and -1 in extra.values():
        cuts = {s.name: BARE if s.shape else WHOLE for s in specs}
    elif set(extra.values()) == {0}:
        cuts = _cut_own_rank(shapes, specs)
    else:
        raise _misfit(shapes, specs, where)
    return Layout(_count(shapes, specs, cuts, where), cuts)


def _cut_own_rank(shapes: Mapping[str, Shape], specs: Sequence[TensorSpec]) -> dict[str, Cut]:
    if joinable(specs):
        return {s.name: ROW for s in specs}
    batched = [s for s in specs if s.shape and isinstance(s.shape[0], str)]
    if all(shape_fits(shapes[s.name], s) for s in specs):
        # A batch that only some inputs carry can be cut as long as no other input's shape depends on it.
        if any(s.dynamic for s in specs if s not in batched):
            return {s.name: WHOLE for s in specs}
        return {s.name: ROW if s in batched else WHOLE for s in specs}
    return {s.name: Cut(_unit(s)) if s.shape else WHOLE for s in specs}


def _unit(spec: TensorSpec) -> int:
    """Rows of axis 0 that one sample takes: the model's static batch."""
    first = spec.shape[0]
    return first if isinstance(first, int) and first > 0 else 1


def _count(shapes: Mapping[str, Shape], specs: Sequence[TensorSpec], cuts: Mapping[str, Cut], where: str) -> int:
    counts: dict[str, int] = {}
    for spec in specs:
        rows, shape = cuts[spec.name].rows, shapes[spec.name]
        if rows is None:
            continue
        if shape[0] % rows:
            raise _misfit(shapes, [spec], where)
        counts[spec.name] = shape[0] // rows
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name!r} {n}" for name, n in counts.items())
        raise BadInput(f"inputs hold different numbers of samples: {found}", where=where)
    count = next(iter(counts.values()), 1)
    if count == 0:
        raise BadInput("holds no samples (the first axis is empty)", where=where)
    return count


def _misfit(shapes: Mapping[str, Shape], specs: Sequence[TensorSpec], where: str) -> BadInput:
    return BadInput(
        "arrays do not fit the model's inputs: " + "; ".join(f"{s.name!r} {shape_text(shapes[s.name])}" for s in specs),
        where=where,
        expected="; ".join(f"{s.name!r} {spec_text(s)}" for s in specs)
        + ", or a stack of these along a new first axis",
    )
