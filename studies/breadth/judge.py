"""An independent judge: ONNX Runtime on the model as given, ``onnx.reference`` with real float16 on what came out.

It shares no code with the product. ``onnx.reference`` computes every float16 tensor in float16, which ONNX Runtime's
CPU kernels do not; where it is itself wrong on the model as given, ONNX Runtime judges alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

Feed: TypeAlias = Mapping[str, NDArray[Any]]
Answers: TypeAlias = list[dict[str, NDArray[Any]]]
FLOATS = ("float16", "float32", "float64", "bfloat16")
TRUSTED_DB = 60.0
"""``onnx.reference`` must be as close to ONNX Runtime on the model as given; below, one of its operators is off."""
ROUNDED_AGAIN_DB = 3.0
"""A float32 engine rounds as often as either of two runs that differ in their roundings: as much noise once more."""


def run_onnxruntime(model: Path, feeds: Sequence[Feed], *, simulated: bool = False, fuse: bool = True) -> Answers:
    """Every output of every feed; ``simulated`` executes Q/DQ nodes in float, as they are written."""
    options = ort.SessionOptions()
    if not fuse:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    if simulated:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    proto = onnx.load(model)
    source = _with_float_ends(proto) if _narrow_ends(proto) else str(model)
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    wanted = [value.name for value in session.get_inputs()]
    taken = [{name: _feedable(feed[name]) for name in wanted} for feed in feeds]
    return [dict(zip(names, session.run(names, given), strict=True)) for given in taken]


def _feedable(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _narrow_ends(proto: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Inputs and outputs in bfloat16, which ONNX Runtime's Python neither feeds nor reads."""
    ends = (*proto.graph.input, *proto.graph.output)
    return [value for value in ends if value.type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16]


def _with_float_ends(proto: onnx.ModelProto) -> bytes:
    """The model with a Cast behind every such input and before every such output."""
    graph = proto.graph
    for value in _narrow_ends(proto):
        inside, given = f"{value.name}__narrow", value in graph.input
        for node in graph.node:
            for field in (node.input, node.output):
                for index, name in enumerate(field):
                    if name == value.name:
                        field[index] = inside
        ends = [value.name, inside] if given else [inside, value.name]
        kind = onnx.TensorProto.BFLOAT16 if given else onnx.TensorProto.FLOAT
        cast = onnx.helper.make_node("Cast", ends[:1], ends[1:], to=kind)
        graph.node.insert(0 if given else len(graph.node), cast)
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return bytes(proto.SerializeToString())


def run_reference(model: Path, feeds: Sequence[Feed]) -> Answers:
    """Every output of every feed, each tensor in its own type.

    Batch and instance norms take their statistics in float32, as every GPU kernel does: onnx.reference would round each
    step of their formula to the tensor's type.
    """
    from onnx.reference import ReferenceEvaluator

    proto = onnx.load(model)
    evaluator = ReferenceEvaluator(proto, new_ops=_norms(proto) or None)
    with np.errstate(all="ignore"):
        answers: list[Any] = [
            evaluator.run(None, {name: feed[name] for name in evaluator.input_names}) for feed in feeds
        ]
    return [dict(zip(evaluator.output_names, answer, strict=True)) for answer in answers]


def _norms(proto: onnx.ModelProto) -> list[Any]:
    """The two norms with float32 inside, for the opsets whose form onnx.reference has alone."""
    from onnx.reference.ops.op_batch_normalization import BatchNormalization_14
    from onnx.reference.ops.op_instance_normalization import InstanceNormalization as Instance

    if next((entry.version for entry in proto.opset_import if entry.domain == ""), 0) < 14:
        return []

    class InFloat32:
        op_domain = ""

        def _run(self, x: Any, *more: Any, **attributes: Any) -> Any:
            wide = [value.astype(np.float32) for value in (x, *more)]
            found = super()._run(*wide, **attributes)  # type: ignore[misc]  # the norm's own, behind it
            return tuple(value.astype(x.dtype) for value in found)

    class BatchNormalization(InFloat32, BatchNormalization_14): ...

    class InstanceNormalization(InFloat32, Instance): ...

    return [BatchNormalization, InstanceNormalization]


def least_float_db(model: Path, feeds: Sequence[Feed], wanted: Answers) -> float:
    """Least SQNR of a float32 engine against ``model``: what the model's own type rounds away cannot be asked for.

    How much that is where a net amplifies it is what ONNX Runtime differs by when it fuses nothing and so rounds more
    often.
    """
    kinds = {tensor.data_type for tensor in _tensors(onnx.load(model).graph)}
    if not kinds & {onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT16}:
        return 60.0
    apart = _attempted(lambda: sqnr_db(wanted, run_onnxruntime(model, feeds, fuse=False))) or {}
    own = min(apart.values(), default=math.inf) - ROUNDED_AGAIN_DB
    return min(25.0 if onnx.TensorProto.BFLOAT16 in kinds else 45.0, own)


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """Weights, and stand-ins of the types of inputs and outputs."""
    kinds = [value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)]
    return [*graph.initializer, *(onnx.TensorProto(data_type=kind) for kind in kinds)]


def sqnr_db(wanted: Answers, found: Answers) -> dict[str, float]:
    """SQNR of every float output over all feeds, dB; minus infinity where shapes differ or NaN stands elsewhere.

    Infinity where nothing differs. An output without elements, or whose reference is not finite, is left out.
    """
    return {name: db for name in (wanted[0] if wanted else {}) if (db := _output_db(name, wanted, found)) is not None}


def _output_db(name: str, wanted: Answers, found: Answers) -> float | None:
    signal = noise = 0.0
    for expected, answer in zip(wanted, found, strict=True):
        if not _is_float(expected[name]) or not np.isfinite(_double(expected[name])).all():
            return None
        if name not in answer or expected[name].shape != answer[name].shape:
            return -math.inf
        a, b = _double(expected[name]), _double(answer[name])
        if not np.isfinite(b).all():
            return -math.inf
        signal += float(np.sum(a * a))
        noise += float(np.sum((a - b) ** 2))
    if signal == 0:
        return None
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)


def same_integers(wanted: Answers, found: Answers) -> dict[str, float]:
    """Share of equal elements of every output that is not float; 0 where shapes differ."""
    shares: dict[str, float] = {}
    for name in wanted[0] if wanted else ():
        if _is_float(wanted[0][name]) or wanted[0][name].dtype.kind == "O":
            continue
        pairs = [(expected[name], answer.get(name)) for expected, answer in zip(wanted, found, strict=True)]
        shares[name] = min(_equal(a, b) for a, b in pairs)
    return shares


def _equal(a: NDArray[Any], b: NDArray[Any] | None) -> float:
    if b is None or a.shape != b.shape:
        return 0.0
    return float(np.mean(a == b)) if a.size else 1.0


def in_real_types(original: Path, typed: Path, feeds: Sequence[Feed], wanted: Answers) -> tuple[dict[str, float], str]:
    """What the typed graph gives in real float16, dB by output, and who judged.

    That is ``reference``, ``onnxruntime`` (of the outputs that the reference gets wrong, or of all) or, where neither
    runs it, ``nobody``.
    """
    agrees = _attempted(lambda: sqnr_db(wanted, run_reference(original, feeds)))
    trusted = {name for name, db in (agrees or {}).items() if db >= TRUSTED_DB}
    real: dict[str, float] | None = None
    if agrees is not None and (trusted or not agrees):
        real = _attempted(lambda: sqnr_db(wanted, run_reference(typed, feeds)))
        if real is not None and len(trusted) == len(agrees):
            return real, "reference"
    judged = _attempted(lambda: sqnr_db(wanted, run_onnxruntime(typed, feeds, simulated=True)))
    if judged is None:
        return {}, "nobody"
    return judged | {name: db for name, db in (real or {}).items() if name in trusted}, "onnxruntime"


def _attempted(run: Callable[[], dict[str, float]]) -> dict[str, float] | None:
    """``onnx.reference`` lacks operators and types; what it raises then is of every kind."""
    try:
        return run()
    except Exception:  # a judge that cannot run is no finding: the other one judges
        return None


def _is_float(array: NDArray[Any]) -> bool:
    return np.asarray(array).dtype.name in FLOATS


def _double(array: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(array).astype(np.float64)
