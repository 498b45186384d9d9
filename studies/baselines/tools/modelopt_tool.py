"""NVIDIA Model Optimizer's ONNX quantization, calibrating on the CPU.

The rest stays in FP32, not in FP16 as by default: nothing that is measured here gets worse by it, and a CPU runs it.
"""

from __future__ import annotations

import importlib

from studies.baselines.tool import Request
from studies.baselines.tools.onnxruntime_tool import Reader


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
            high_precision_dtype="fp32",
            output_path=str(request.out),
            log_level="WARNING",
        )


TOOL = ModelOptimizer()
