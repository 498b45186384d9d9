"""NVIDIA Model Optimizer's ONNX quantization at its defaults (INT8 with the rest in FP16), calibrating on the CPU."""

from __future__ import annotations

import importlib

from benchmarks.peers.tool import Request
from benchmarks.peers.tools.onnxruntime_tool import Reader


class ModelOptimizer:
    CONFIGURATIONS = ("entropy", "max")
    FOR_CPU: frozenset[str] = frozenset()

    def load(self) -> None:
        importlib.import_module("modelopt.onnx.quantization")

    def quantize(self, request: Request) -> None:
        from modelopt.onnx.quantization import quantize

        quantize(
            str(request.model),
            quantize_mode="int8",
            calibration_data_reader=Reader(request.feeds),
            calibration_method=request.configuration,
            calibration_eps=["cpu"],
            output_path=str(request.out),
            log_level="WARNING",
        )


TOOL = ModelOptimizer()
