"""What a deserialized plan takes and gives: names, types, shapes, and the profile that covers a feed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engines.engine import TensorSpec
from engines.errors import EngineError
from engines.profile import Shape, ShapeProfile, ShapeRange
from engines.tensorrt.dtypes import TENSORRT_TYPES, type_name


@dataclass(frozen=True)
class IoLayout:
    """Inputs, outputs and optimization profiles of an engine.

    ``host`` names the shape tensors, which TensorRT reads from (or writes to) host memory. Every profile covers every
    input, static ones with min = opt = max. A plan may hold all of them several times over (``copies``), for
    libraries whose contexts share none: then ``profiles`` are the first of them, and copy ``k`` of profile ``p`` has
    the number ``k * len(profiles) + p`` in the engine.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    profiles: tuple[ShapeProfile, ...]
    host: frozenset[str] = frozenset()
    copies: int = 1

    @property
    def dynamic(self) -> bool:
        return any(spec.dynamic for spec in self.inputs)

    def largest(self, profile: int) -> dict[str, Shape]:
        return {name: shapes.max for name, shapes in self.profiles[profile].inputs.items()}


def read_layout(trt: Any, engine: Any, where: str) -> IoLayout:
    """The layout of an ``ICudaEngine``; ``EngineError`` for I/O that plain arrays cannot carry. ``where``: the
    plan."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    specs = {name: _spec(trt, engine, name, where) for name in names}
    inputs = tuple(specs[n] for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT)
    outputs = tuple(specs[n] for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.OUTPUT)
    host = frozenset(n for n in names if engine.get_tensor_location(n) == trt.TensorLocation.HOST)
    count = max(1, int(engine.num_optimization_profiles))
    profiles = tuple(ShapeProfile({s.name: _range(engine, s, index) for s in inputs}) for index in range(count))
    distinct = _period(profiles)
    return IoLayout(inputs, outputs, profiles[:distinct], host, count // distinct)


def _period(profiles: tuple[ShapeProfile, ...]) -> int:
    """The least number of profiles that the others repeat, in order."""
    count = len(profiles)
    return next((n for n in range(1, count) if count % n == 0 and profiles == profiles[:n] * (count // n)), count)


def _spec(trt: Any, engine: Any, name: str, where: str) -> TensorSpec:
    kind = type_name(engine.get_tensor_dtype(name))
    if kind not in TENSORRT_TYPES:
        raise EngineError(f"tensor {name!r} has type {kind}, which no array holds", where=where)
    if engine.get_tensor_format(name) != trt.TensorFormat.LINEAR:
        raise EngineError(
            f"tensor {name!r} is not in linear (row-major) format",
            where=where,
            fix="rebuild the plan without DIRECT_IO or per-tensor formats",
        )
    shape = tuple("?" if extent < 0 else int(extent) for extent in engine.get_tensor_shape(name))
    return TensorSpec(name, TENSORRT_TYPES[kind], shape)


def _range(engine: Any, spec: TensorSpec, profile: int) -> ShapeRange:
    if spec.dynamic:
        low, opt, high = (tuple(map(int, dims)) for dims in engine.get_tensor_profile_shape(spec.name, profile))
        return ShapeRange(low, opt, high)
    fixed = tuple(int(extent) for extent in spec.shape)
    return ShapeRange(fixed, fixed, fixed)


def choose_profile(layout: IoLayout, shapes: Mapping[str, Shape], preferred: int = 0) -> int:
    """The profile that covers ``shapes``: ``preferred`` if it does, else the first that does.

    Raises ``EngineError`` naming the input that is out of range, with min and max of each profile.
    """
    order = [preferred, *(index for index in range(len(layout.profiles)) if index != preferred)]
    for index in order:
        if layout.profiles[index].covers(shapes):
            return index
    raise _out_of_range(layout, shapes)


def _out_of_range(layout: IoLayout, shapes: Mapping[str, Shape]) -> EngineError:
    misfits = {
        name: [profile.inputs[name] for profile in layout.profiles]
        for name, shape in shapes.items()
        if not any(profile.inputs[name].covers(shape) for profile in layout.profiles)
    }
    if not misfits:  # each input fits some profile, but no one profile fits all of them together
        given = ", ".join(f"{name}={_text(shape)}" for name, shape in shapes.items())
        return EngineError(f"no single optimization profile covers {given}", fix=_REBUILD)
    name, ranges = next(iter(misfits.items()))
    return EngineError(
        f"shape {_text(shapes[name])} is outside the optimization profile",
        where=f"input {name!r}",
        expected=" or ".join(f"min {_text(r.min)}, max {_text(r.max)}" for r in ranges),
        fix=_REBUILD,
    )


_REBUILD = "rebuild with --shape NAME=MIN:OPT:MAX that covers it"


def _text(shape: tuple[int | str, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
