"""Shape profiles: the smallest, usual and largest shape of every dynamic input."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from engines.engine import UNNAMED, TensorSpec
from graphs.errors import BadInput

Shape = tuple[int, ...]
USUAL_BATCH, LARGEST_BATCH = 8, 32
"""Samples that a profile is tuned for and goes up to where nobody says otherwise (``--shape``). Chosen."""


@dataclass(frozen=True)
class ShapeRange:
    """``min <= opt <= max`` elementwise; checked where it is made from user input."""

    min: Shape
    opt: Shape
    max: Shape

    def __str__(self) -> str:
        """``"1x3:8x3:32x3"``, as ``--shape`` takes it."""
        return ":".join("x".join(map(str, shape)) for shape in (self.min, self.opt, self.max))

    def covers(self, shape: Shape) -> bool:
        same_rank = len(shape) == len(self.min)
        return same_rank and all(a <= x <= b for a, x, b in zip(self.min, shape, self.max, strict=True))


@dataclass(frozen=True)
class ShapeProfile:
    """Input name -> range of shapes one optimization profile covers."""

    inputs: dict[str, ShapeRange]

    def covers(self, shapes: Mapping[str, Shape]) -> bool:
        """Whether every shape of an input with a range lies in it."""
        return all(self.inputs[name].covers(shape) for name, shape in shapes.items() if name in self.inputs)

    def opt_shapes(self) -> dict[str, Shape]:
        return {name: shapes.opt for name, shapes in self.inputs.items()}


def parse_shape_profiles(options: Iterable[str]) -> list[dict[str, ShapeRange]]:
    """Read ``--shape NAME=MIN:OPT:MAX`` or ``NAME=SHAPE`` (all three alike), by profile; shapes are ``1x3x224x224``.

    An input's first option belongs to the first profile, its second to the second. An input given fewer times than
    another keeps its last range in the later profiles. At least one (maybe empty) profile is returned.
    """
    by_input: dict[str, list[ShapeRange]] = {}
    for option in options:
        name, shapes = _parse_shape_option(option)
        by_input.setdefault(name, []).append(shapes)
    count = max((len(ranges) for ranges in by_input.values()), default=1)
    return [{name: ranges[min(index, len(ranges) - 1)] for name, ranges in by_input.items()} for index in range(count)]


def _parse_shape_option(option: str) -> tuple[str, ShapeRange]:
    where = f"--shape {option}"
    form = "NAME=MIN:OPT:MAX, for example input=1x3x224x224:8x3x224x224:32x3x224x224"
    name, separator, text = option.rpartition("=")
    parts = text.split(":")
    if not separator or not name or len(parts) not in (1, 3):
        raise BadInput("cannot be read", where=where, expected=form)
    shapes = [_parse_shape(part, where, form) for part in parts]
    return name, check_range(name, shapes[0], shapes[len(shapes) // 2], shapes[-1], where)


def _parse_shape(text: str, where: str, form: str) -> Shape:
    if not re.fullmatch(r"\d+([x,]\d+)*", text):
        raise BadInput(f"{text!r} is not a shape", where=where, expected=form)
    return tuple(int(part) for part in re.split("[x,]", text))


def check_range(name: str, low: Shape, opt: Shape, high: Shape, where: str) -> ShapeRange:
    """A ``ShapeRange`` after checking equal ranks and 0 <= min <= opt <= max.

    An axis may be empty: a decoder's cache before its first token, an input that nothing was left of. TensorRT takes
    such profiles ("Empty Tensors", TensorRT developer guide).
    """
    if not len(low) == len(opt) == len(high):
        raise BadInput(f"the three shapes of {name!r} differ in rank", where=where, expected="equal ranks")
    for axis, (a, b, c) in enumerate(zip(low, opt, high, strict=True)):
        if not 0 <= a <= b <= c:
            raise BadInput(
                f"axis {axis} of {name!r} has min {a}, opt {b}, max {c}", where=where, expected="0 <= min <= opt <= max"
            )
    return ShapeRange(low, opt, high)


def check_profile(profile: ShapeProfile) -> None:
    """Raise ``BadInput`` unless every range has equal ranks and 0 <= min <= opt <= max."""
    for name, shapes in profile.inputs.items():
        check_range(name, shapes.min, shapes.opt, shapes.max, f"shape profile of input {name!r}")


def infer_profile(
    specs: Sequence[TensorSpec],
    observed: Mapping[str, Sequence[Shape]],
    given: Mapping[str, ShapeRange],
    *,
    max_batch: int = LARGEST_BATCH,
) -> ShapeProfile:
    """The profile of a model: ``given`` ranges win, then the extremes of ``observed`` shapes.

    Axes of one symbol have one range in all inputs, and so has the batch (``TensorSpec.batched``), which goes from 1 to
    at least ``max_batch`` where it is not given: TensorRT takes no set of shapes that contradicts itself ("Named
    Dimensions", TensorRT developer guide). Static inputs get no range. Raises ``BadInput`` for a given input that does
    not exist, does not fit the model's static dimensions or contradicts another, or a dynamic input that was neither
    given nor observed.
    """
    names = {spec.name for spec in specs}
    for name in given:
        if name not in names:
            raise BadInput(f"the model has no input {name!r}", where="--shape", expected=", ".join(sorted(names)))
    axes = _Axes(specs)
    for spec in specs:
        if spec.name in given:
            axes.give(spec, _fit(spec, given[spec.name]))
    for spec in specs:
        if spec.dynamic:
            axes.observe(spec, list(observed.get(spec.name, ())))
    return ShapeProfile({s.name: axes.range_of(s, max_batch) for s in specs if s.dynamic or s.name in given})


@dataclass(frozen=True)
class _Extent:
    """The range of one axis, and the input that says so."""

    low: int
    opt: int
    high: int
    says: str


class _Axes:
    """What is known of every dynamic axis, by what must be equal: its symbol, or the batch."""

    BATCH = "the batch"

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        found = any(spec.batch for spec in specs)
        self._batch = {str(spec.shape[0]) for spec in specs if spec.batched and found} - UNNAMED
        self._found = found
        self._given: dict[object, _Extent] = {}
        self._seen: dict[object, _Extent] = {}
        self._batched: set[object] = {self._key(spec, 0) for spec in specs if spec.batched}

    def give(self, spec: TensorSpec, shapes: ShapeRange) -> None:
        for axis, symbol in enumerate(spec.shape):
            if isinstance(symbol, int):
                continue
            extent = _Extent(shapes.min[axis], shapes.opt[axis], shapes.max[axis], spec.name)
            known = self._given.setdefault(self._key(spec, axis), extent)
            if (known.low, known.opt, known.high) != (extent.low, extent.opt, extent.high):
                raise BadInput(
                    f"axis {axis} of {spec.name!r} is {extent.low}:{extent.opt}:{extent.high}, but {known.says!r} has "
                    f"{known.low}:{known.opt}:{known.high} for the same symbol {symbol!r}",
                    where="--shape",
                    expected="one range for one symbol in all inputs",
                )

    def observe(self, spec: TensorSpec, shapes: Sequence[Shape]) -> None:
        for axis, symbol in enumerate(spec.shape):
            key = self._key(spec, axis)
            if isinstance(symbol, int) or key in self._given or not shapes:
                continue
            low, high = min(shape[axis] for shape in shapes), max(shape[axis] for shape in shapes)
            known = self._seen.get(key, _Extent(low, high, high, spec.name))
            self._seen[key] = _Extent(min(low, known.low), max(high, known.high), max(high, known.high), spec.name)

    def range_of(self, spec: TensorSpec, max_batch: int) -> ShapeRange:
        extents = [self._extent(spec, axis, max_batch) for axis in range(len(spec.shape))]
        return ShapeRange(
            tuple(extent.low for extent in extents),
            tuple(extent.opt for extent in extents),
            tuple(extent.high for extent in extents),
        )

    def _extent(self, spec: TensorSpec, axis: int, max_batch: int) -> _Extent:
        size, key = spec.shape[axis], self._key(spec, axis)
        if isinstance(size, int):
            return _Extent(size, size, size, spec.name)
        if key in self._given:
            return self._given[key]
        if key not in self._seen:
            raise BadInput(
                f"input {spec.name!r} has dynamic shape {'x'.join(map(str, spec.shape))} and no data shows it",
                where="--shape",
                fix=f"add --shape {spec.name}=MIN:OPT:MAX, or --data",
            )
        seen = self._seen[key]
        if key not in self._batched:
            return seen
        top = max(max_batch, seen.high)
        return _Extent(1, min(USUAL_BATCH, top), top, seen.says)

    def _key(self, spec: TensorSpec, axis: int) -> object:
        symbol = spec.shape[axis]
        if (axis == 0 and spec.batched and self._found) or symbol in self._batch:
            return self.BATCH
        return (spec.name, axis) if symbol in UNNAMED else symbol


def _fit(spec: TensorSpec, shapes: ShapeRange) -> ShapeRange:
    for shape in (shapes.min, shapes.opt, shapes.max):
        fits = len(shape) == len(spec.shape) and all(
            isinstance(d, str) or d == s for d, s in zip(spec.shape, shape, strict=False)
        )
        if not fits:
            raise BadInput(
                f"shape {'x'.join(map(str, shape))} does not fit input {spec.name!r}",
                where="--shape",
                expected="x".join(map(str, spec.shape)),
            )
    return shapes
