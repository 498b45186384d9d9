"""The demo model in INT8, in the dialects of other tools, by ONNX Runtime's quantizer and by ``train_qat``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from optimizer.demo.fashion import MODEL

BATCH = 16  # images calibrated on at once
Images = NDArray[np.float32]


class _Reader(CalibrationDataReader):
    def __init__(self, images: Images) -> None:
        self._batches: Iterator[Images] = iter(np.array_split(images, len(images) // BATCH))

    def get_next(self) -> dict[str, Images] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"input": batch}


def _static(**options: object) -> Callable[[Path, Images], None]:
    def make(path: Path, images: Images) -> None:
        given = {"quant_format": QuantFormat.QDQ, "per_channel": True, "weight_type": QuantType.QInt8}
        quantize_static(MODEL, path, _Reader(images), **(given | {"activation_type": QuantType.QUInt8} | options))

    return make


DIALECTS: dict[str, Callable[[Path, Images], None]] = {
    "Q/DQ for TensorRT, not trained": _static(
        activation_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "Gemm"],
        extra_options={"ActivationSymmetric": True, "QuantizeBias": False},
    ),
    "TensorFlow's form: uint8 weights, one scale, zero points": _static(
        per_channel=False, weight_type=QuantType.QUInt8, extra_options={"QuantizeBias": False}
    ),
    "ONNX Runtime QDQ, uint8 data": _static(),
    "ONNX Runtime QDQ, int8 data with zero points": _static(activation_type=QuantType.QInt8),
    "ONNX Runtime QOperator": _static(quant_format=QuantFormat.QOperator),
    "ONNX Runtime dynamic": lambda path, _: quantize_dynamic(MODEL, path),
}
"""Name -> writes the model, calibrated on images [n, 1, 28, 28] float32 where it has ranges."""


def make(name: str, path: Path, images: Images) -> None:
    logging.getLogger().setLevel(logging.ERROR)  # it recommends its own preprocessing
    DIALECTS[name](path, images)
