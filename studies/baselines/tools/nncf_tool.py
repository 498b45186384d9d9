"""NNCF post-training quantization of ONNX models, both presets; SmoothQuant where it is told of a transformer."""

from __future__ import annotations

import importlib

from studies.baselines.tool import Request


class Nncf:
    CONFIGURATIONS = ("performance", "mixed")
    FOR_CPU: frozenset[str] = frozenset()

    def load(self) -> None:
        importlib.import_module("nncf")

    def quantize(self, request: Request) -> None:
        import nncf
        import onnx

        quantized = nncf.quantize(
            onnx.load(request.model),
            nncf.Dataset([dict(feed) for feed in request.feeds]),
            preset=nncf.QuantizationPreset(request.configuration),
            subset_size=len(request.feeds),
            model_type=nncf.ModelType.TRANSFORMER if request.transformer else None,
        )
        onnx.save(quantized, request.out)


TOOL = Nncf()
