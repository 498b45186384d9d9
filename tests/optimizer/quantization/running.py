"""Quantizing and running the graphs of the tests."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from optimizer.quantization.codes.scheme import Scheme
from optimizer.quantization.corrections.fallback import Allowance
from optimizer.quantization.judging.noise import relative_noise
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.prepared import QuantizedModel
from optimizer.quantization.quantize import quantize
from optimizer.quantization.settings import QuantizeSettings
from tests.optimizer.quantization.models import normal


def feeds_for(model: ir.Model, count: int = 12) -> list[dict[str, np.ndarray]]:
    return [{str(v.name): some(v, 100 + n) for v in model.graph.inputs} for n in range(count)]


def some(value: ir.Value, seed: int) -> np.ndarray:
    assert value.shape is not None
    if value.dtype is ir.DataType.UINT8:
        return np.random.default_rng(seed).integers(0, 256, value.shape.numpy(), np.uint8)
    return normal(*value.shape.numpy(), seed=seed, scale=1.0)


def answers(model: ir.Model, feeds: list[dict[str, np.ndarray]], *, fused: bool) -> list[dict[str, np.ndarray]]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if not fused:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return [dict(zip(names, session.run(None, feed), strict=True)) for feed in feeds]


def sqnr_db(reference: list[dict[str, np.ndarray]], found: list[dict[str, np.ndarray]]) -> float:
    return float(-10 * np.log10(max(relative_noise(reference, found), 1e-12)))


def quantized(model: ir.Model, scheme: Scheme, feeds: list[dict[str, np.ndarray]]) -> QuantizedModel:
    calibrator = Calibrator(lambda: feeds, batchable=False, methods=("mse", "minmax"))
    costs = {str(node.name): 1000 for node in model.graph if node.op_type in ("Conv", "Gemm", "MatMul")}
    return quantize(
        model,
        calibrator,
        QuantizeSettings(scheme=scheme, costs=costs, allowance=Allowance(0.0 if len(costs) < 3 else 0.3)),
    )
