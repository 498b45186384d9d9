"""One seed, one model: its opset, types, inputs, names and steps, and data to calibrate and to judge it with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from studies.breadth.draft import WIDTHS, Draft, Rejected, Value, info, initializer, model_of
from studies.breadth.families import FAMILIES, WEIGHTS, WIDE_WEIGHTS
from studies.breadth.judge import Answers, run_onnxruntime, run_reference, sqnr_db

OPSETS = (*range(7, 24), 13, 17, 18, 21)
"""7 to the newest ONNX Runtime takes; those that exporters write come up more often."""
SAMPLES, HELD = 8, 2  # drawn to calibrate with, and held back
STEADY_DB = 70.0
"""Least SQNR between the answers to feeds that differ by 1e-6: a graph that amplifies more has no right answer."""
STEADY_NARROW_DB = 44.0
"""The same where feeds are 16-bit floats, which differ by 1e-3 (by 8e-3 in bfloat16) at least."""
STEPS = (2, 9)  # operators drawn: from 2 to 8
_BATCH = 2  # samples of a drawn feed


@dataclass(frozen=True)
class Drawn:
    """A model and its data: files of ``calibration`` and ``held`` feeds; ``steps`` are the numbers of those it has."""

    model: onnx.ModelProto
    calibration: list[dict[str, NDArray[Any]]]
    held: list[dict[str, NDArray[Any]]]
    steps: tuple[int, ...]
    about: str


def draw(seed: int, without: frozenset[int] = frozenset(), *, wide: bool = False) -> Drawn:
    """The model of ``seed``, less the steps ``without`` (each step has its own generator, so the others stay alike).

    ``wide`` is another drawing, with other models of the same seeds: layers that are wide enough to be INT8, and more
    of them. Raises ``Rejected`` where nothing could be drawn.
    """
    rng = np.random.default_rng(seed)
    opset = int(rng.choice(OPSETS))
    dtype = np.dtype(rng.choice(np.asarray([np.float32] * 16 + [np.float16] * 3 + [np.float64] * 1)))
    if rng.random() < 0.03 and opset >= 13:
        dtype = np.dtype(ml_dtypes.bfloat16)
    draft = Draft(opset, dtype, rng, _naming(rng), wide)
    draft.scale = float(rng.choice([1, 1, 1, 1, 1, 30, 0.01]))
    makers = _inputs(draft, rng)
    taken = []
    for number in range(int(rng.integers(*STEPS))):
        step_rng = np.random.default_rng([seed, number])
        if number not in without and _step(draft, step_rng, _weights(draft)):
            taken.append(number)
    if not draft.nodes:
        raise Rejected
    dynamic = bool(rng.random() < 0.6)
    model = _model(draft, np.random.default_rng([seed, 999]), dynamic)
    feeds = [{value.name: make(_BATCH, 100 + k) for value, make in makers} for k in range(SAMPLES + HELD)]
    if not _runs(model, feeds):
        raise Rejected
    about = f"opset {opset}, {dtype.name}, {'dynamic' if dynamic else 'static'}"
    return Drawn(model, feeds[HELD:], feeds[:HELD], tuple(taken), about)


def save(drawn: Drawn, folder: Path) -> tuple[Path, Path, Path]:
    """Write ``model.onnx``, ``calib/`` and ``held/``; a file is one feed, its first axis the batch."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(drawn.model, folder / "model.onnx")
    for name, feeds in (("calib", drawn.calibration), ("held", drawn.held)):
        (folder / name).mkdir(exist_ok=True)
        for number, feed in enumerate(feeds):
            arrays: dict[str, Any] = {key: _storable(array) for key, array in feed.items()}
            np.savez(folder / name / f"{number:02}.npz", **arrays)
    return folder / "model.onnx", folder / "calib", folder / "held"


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    """bfloat16 as the float32 it is a part of: no ``.npz`` holds it."""
    return array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array


_Maker = Callable[[int, int], NDArray[Any]]


def _inputs(draft: Draft, rng: np.random.Generator) -> list[tuple[Value, _Maker]]:
    makers = [_float_input(draft, rng) for _ in range(int(rng.choice([1, 1, 1, 2])))]
    if rng.random() < 0.25:
        makers.append(_integer_input(draft, rng))
    return makers


def _float_input(draft: Draft, rng: np.random.Generator) -> tuple[Value, _Maker]:
    kind = int(rng.choice(5, p=[0.4, 0.25, 0.2, 0.1, 0.05]))
    size = [int(n) for n in rng.integers(1, 9, 5)]
    if draft.wide:
        return _wide_input(draft, kind, size, rng)
    shape = [
        (size[0], size[1] + 3, size[2] + 3),  # an image
        (size[0], size[1]),  # a sequence
        (size[0] * 2,),  # a row
        (size[0] % 3 + 1, size[1] % 4 + 1, size[2] % 4 + 1, size[3] % 4 + 1),  # a volume
        (),  # one number a sample
    ][kind]
    scale, shift = float(rng.choice([1, 1, 1, 1, 1, 100, 1e-3])), float(rng.choice([0, 0, 0, 2]))
    dtype = draft.dtype

    def make(batch: int, seed: int) -> NDArray[Any]:
        return (np.random.default_rng(seed).normal(size=(batch, *shape)) * scale + shift).astype(dtype)

    return draft.input(make(_BATCH, 0)), make


def _wide_input(draft: Draft, kind: int, size: list[int], rng: np.random.Generator) -> tuple[Value, _Maker]:
    """An image, a sequence, a row, a volume or a signal with the channels of a layer inside a net, or of an image."""
    width = int(rng.choice(WIDTHS))
    channels = width if rng.random() < 0.7 else 3
    shape = [
        (channels, size[1] + 3, size[2] + 3),
        (size[0] + 1, width),
        (width,),
        (channels, size[1] % 4 + 2, size[2] % 4 + 2, size[3] % 3 + 1),
        (channels, 3 * size[0] + 5),
    ][kind]
    scale, shift, dtype = float(rng.choice([1, 1, 1, 1, 1, 100, 1e-3])), float(rng.choice([0, 0, 0, 2])), draft.dtype

    def make(batch: int, seed: int) -> NDArray[Any]:
        return (np.random.default_rng(seed).normal(size=(batch, *shape)) * scale + shift).astype(dtype)

    return draft.input(make(_BATCH, 0)), make


def _integer_input(draft: Draft, rng: np.random.Generator) -> tuple[Value, _Maker]:
    dtype = np.dtype(rng.choice(np.asarray([np.int64, np.int64, np.int32])))
    shape = [(int(rng.integers(1, 7)),), (), (1,)][int(rng.integers(3))]

    def make(batch: int, seed: int) -> NDArray[Any]:
        return np.random.default_rng(seed).integers(0, 16, (batch, *shape)).astype(dtype)

    return draft.input(make(_BATCH, 0)), make


def _weights(draft: Draft) -> dict[str, float]:
    """How often the next step is of each family; a wide graph begins with layers that INT8 has kernels for."""
    if draft.wide and not draft.nodes:
        return {"blocks": 1.0}
    return WIDE_WEIGHTS if draft.wide else WEIGHTS


def _step(draft: Draft, rng: np.random.Generator, weights: dict[str, float]) -> bool:
    """Take one step of some family; of several that do not fit the draft, none."""
    for _ in range(6):
        draft.rng = rng
        family = FAMILIES[str(rng.choice(list(weights), p=list(weights.values())))]
        marks = len(draft.nodes), len(draft.values)
        try:
            family[int(rng.integers(len(family)))](draft)
        except Rejected:
            del draft.nodes[marks[0] :], draft.values[marks[1] :]
            continue
        return True
    return False


def _model(draft: Draft, rng: np.random.Generator, dynamic: bool) -> onnx.ModelProto:
    """The graph with one to three outputs: the last value, loose ends, sometimes one that is also read inside."""
    made = [value for value in draft.values if value not in draft.inputs]
    read = {name for node in draft.nodes for name in node.input} | _read_inside(draft.nodes)
    loose = [value for value in made if value.name not in read and value is not made[-1]]
    outputs = [made[-1], *loose[: int(rng.integers(0, 3))]]
    inner = [value for value in made if value.name in read]
    if inner and rng.random() < 0.15:
        outputs.append(inner[int(rng.integers(len(inner)))])
    axes = {0: "batch"} if dynamic else {}
    graph = helper.make_graph(
        draft.nodes,
        "drawn",
        [info(value.name, value.array, axes if value.rank else {}) for value in draft.inputs],
        [info(value.name, value.array) for value in outputs],
        [initializer(value) for value in draft.weights.values() if value.name in read],
    )
    model = model_of(graph, draft.opset)
    if dynamic:
        _declare_what_varies(model, draft)
    return model


def _declare_what_varies(model: onnx.ModelProto, draft: Draft) -> None:
    """Name the axes of the outputs that another batch changes; inputs stay dynamic only where another batch runs."""
    twice = {v.name: np.concatenate([v.array, v.array]) if v.rank else v.array for v in draft.inputs}
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    found = _answers(model, [twice])
    values = {value.name: value.array for value in draft.values}
    if found is None or any(found[0][name].ndim != values[name].ndim for name in found[0]):
        found = None
        for value, given in zip(model.graph.input, draft.inputs, strict=True):
            value.CopyFrom(info(given.name, given.array))
    for output in model.graph.output:
        array = values[output.name]
        other = found[0][output.name].shape if found else array.shape
        varying = {axis: f"{output.name}_{axis}" for axis, size in enumerate(array.shape) if other[axis] != size}
        if varying.get(0) and other[0] == 2 * array.shape[0]:
            varying[0] = "batch"
        output.CopyFrom(info(output.name, array, varying))


def _read_inside(nodes: list[onnx.NodeProto]) -> set[str]:
    found: set[str] = set()
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found |= {name for inner in attribute.g.node for name in inner.input}
    return found


def _runs(model: onnx.ModelProto, feeds: list[dict[str, NDArray[Any]]]) -> bool:
    """Whether a runtime takes the whole model and every feed, and gives finite answers that a judge can rest on.

    That they are of a graph that is near a jump everywhere (the floor of a saturated Tanh) no judge could say: feeds
    that differ in the last bits must give the same answers.
    """
    found = _answers(model, feeds)
    arrays = [] if found is None else [array for answer in found for array in answer.values()]
    if found is None or not all(array.dtype.kind not in "fV" or _finite(array) for array in arrays):
        return False
    nudged = _answers(model, [{name: _nudged(array) for name, array in feed.items()} for feed in feeds])
    steady = sqnr_db(found, nudged) if nudged is not None else {}
    narrow = any(array.dtype.itemsize == 2 for array in feeds[0].values())
    return all(db > (STEADY_NARROW_DB if narrow else STEADY_DB) for db in steady.values())


def _nudged(array: NDArray[Any]) -> NDArray[Any]:
    """The array off by one in the last place, or thereabouts."""
    if array.dtype.kind in "iub":
        return array
    part = 2**-20 if array.dtype.itemsize > 2 else 2**-10 if array.dtype == np.float16 else 2**-7
    return np.asarray(array * array.dtype.type(1 + part))


def _finite(array: NDArray[Any]) -> bool:
    return bool(np.isfinite(array.astype(np.float64)).all())


def _answers(model: onnx.ModelProto, feeds: list[dict[str, NDArray[Any]]]) -> Answers | None:
    """What ONNX Runtime, or for types it lacks onnx.reference, answers; None where neither runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        kinds = {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
        lacking = onnx.TensorProto.BFLOAT16 in kinds
        for run in (run_onnxruntime, run_reference) if lacking else (run_onnxruntime,):
            try:
                return run(path, feeds)
            except Exception:  # whatever the reason, this runtime is no judge of it
                continue
    return None


def _naming(rng: np.random.Generator) -> Callable[[str, int], str]:
    """How this exporter names things: plainly, as a path, in another script, at great length, nodes all alike."""
    style = int(rng.choice(5, p=[0.5, 0.25, 0.1, 0.05, 0.1]))

    def name(kind: str, number: int) -> str:
        if style == 4 and kind[:1].isupper():
            return kind if number % 2 else ""
        return [
            f"{kind}_{number}",
            f"/model/{kind}.{number}/{kind}_output_0",
            f"слой {kind}:{number}",
            f"{'module/' * 30}{kind}_{number}",
            f"{number}",
        ][style]

    return name
