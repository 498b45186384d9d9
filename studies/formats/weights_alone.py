"""Weights alone in INT4: this project's, round to nearest, and onnxruntime's MatMulNBits quantizer, at equal size.

All have blocks of 128, symmetric codes, and the same products quantized; all run in ONNX Runtime in float, so that what
differs is the weights alone. Samples the outputs are compared on are in no calibration.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnx_ir as ir

from engines.engine import Array, Feed
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.onnxruntime.graph import simulated_outputs
from graphs.reading.macs import count_macs
from graphs.storage.saving import save_model
from optimizer.corrections import ALL, Correction
from optimizer.passes.clean import clean
from optimizer.quantization.codes.scheme import INT4_WEIGHTS, INT8_WEIGHTS, Scheme
from optimizer.quantization.corrections.fallback import Allowance
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.placement.place import place
from optimizer.quantization.quantize import prepare
from optimizer.quantization.settings import QuantizeSettings

_KEPT = frozenset({Correction.FALLBACK})
NEAREST = ALL - _KEPT - {Correction.ROUNDING, Correction.CHANNELS}


@dataclass(frozen=True)
class Row:
    """``sqnr_db`` of all float outputs together; ``megabytes`` of the weights in codes, with scales."""

    model: str
    way: str
    sqnr_db: float
    megabytes: float


def compare_ways(name: str, model: ir.Model, calibration: Sequence[Feed], unseen: Sequence[Feed]) -> list[Row]:
    """Every way on one model; ``model`` is cleaned in place."""
    clean(model)
    wanted = simulated_outputs(model, unseen)
    ways: dict[str, Callable[[], tuple[Sequence[dict[str, Array]], float]]] = {
        "INT4, round to nearest": lambda: _ours(model, calibration, unseen, INT4_WEIGHTS, NEAREST),
        "INT4, onnxruntime MatMulNBits, symmetric": lambda: _onnxruntime(model, unseen, True),
        "INT4, onnxruntime MatMulNBits, with offsets": lambda: _onnxruntime(model, unseen, False),
        "INT4, this project, without GPTQ": lambda: _ours(
            model, calibration, unseen, INT4_WEIGHTS, ALL - _KEPT - {Correction.ROUNDING}
        ),
        "INT4, this project": lambda: _ours(model, calibration, unseen, INT4_WEIGHTS, ALL - _KEPT),
        "INT8, this project": lambda: _ours(model, calibration, unseen, INT8_WEIGHTS, ALL - _KEPT),
    }
    rows = []
    for way, make in ways.items():
        found, size = make()
        rows.append(Row(name, way, _sqnr(wanted, found), round(size / 1e6, 2)))
        print(rows[-1], flush=True)
    return rows


def _ours(
    model: ir.Model,
    calibration: Sequence[Feed],
    unseen: Sequence[Feed],
    scheme: Scheme,
    corrections: frozenset[Correction],
) -> tuple[Sequence[dict[str, Array]], float]:
    largest = max(calibration, key=lambda feed: sum(array.size for array in feed.values()))
    costs = count_macs(model, {name: array.shape for name, array in largest.items()})
    macs = {name: cost.macs for name, cost in costs.items() if cost.macs}
    settings = QuantizeSettings(scheme=scheme, costs=macs, corrections=corrections)
    calibrator = Calibrator(lambda: calibration, False, ("minmax",))
    made = prepare(model, calibrator, settings, lambda _: None).quantized(Allowance()).model
    dequantizers = [node for node in made.graph if node.op_type == "DequantizeLinear"]
    stored = [value.const_value for node in dequantizers for value in node.inputs[:2] if value is not None]
    return simulated_outputs(made, unseen), sum(tensor.nbytes for tensor in stored if tensor is not None)


def _onnxruntime(model: ir.Model, unseen: Sequence[Feed], symmetric: bool) -> tuple[Sequence[dict[str, Array]], float]:
    """It rounds to nearest, at scales whose sign is the largest weight's, or with an offset for each block. Products
    are of floats.
    """
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    logging.getLogger("onnxruntime.quantization").setLevel(logging.ERROR)
    same = {point.uses[0].node for point in place(model, scheme=INT4_WEIGHTS, keep_float={}).weights}
    others = [str(node.name) for node in model.graph if node.op_type == "MatMul" and node.name not in same]
    config = DefaultWeightOnlyQuantConfig(block_size=128, is_symmetric=symmetric, accuracy_level=1)
    with TemporaryDirectory() as folder:
        save_model(model, path := Path(folder) / "float.onnx")
        quantizer = MatMulNBitsQuantizer(onnx.load(path), nodes_to_exclude=others, algo_config=config)
        quantizer.process()
        found = quantizer.model.model
        onnx.save(found, out := Path(folder) / "nbits.onnx")
        products = [node for node in found.graph.node if node.op_type == "MatMulNBits"]
        named = {name for node in products for name in node.input[1:4] if name}
        size = sum(len(tensor.raw_data) for tensor in found.graph.initializer if tensor.name in named)
        with OnnxRuntimeEngine(out) as engine:
            return [engine.infer(feed) for feed in unseen], size


def _sqnr(wanted: Sequence[dict[str, Array]], found: Sequence[dict[str, Array]]) -> float:
    pairs = [(a[name], b[name]) for a, b in zip(wanted, found, strict=True) for name in a if a[name].dtype.kind == "f"]
    signal = sum(float(np.square(a, dtype=np.float64).sum()) for a, _ in pairs)
    error = sum(float(np.square(a - b, dtype=np.float64).sum()) for a, b in pairs)
    return round(float(10 * np.log10(signal / max(error, 1e-30))), 2)
