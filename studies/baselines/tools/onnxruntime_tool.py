"""onnxruntime.quantization: static Q/DQ with per-channel weights, after its own preprocessing.

The ``s8`` configurations are symmetric int8 as TensorRT needs; ``minmax-u8`` is what its documentation advises for
CPUs with VNNI: asymmetric uint8 activations.
"""

from __future__ import annotations

import importlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from engines.engine import Feed
from studies.baselines.tool import Request

OPSET = 17
"""Below opset 13 a per-channel graph comes out invalid, without a word; older models are converted first."""


class OnnxRuntime:
    CONFIGURATIONS = ("minmax-s8", "entropy-s8", "percentile-s8", "minmax-u8")
    FOR_CPU = frozenset({"minmax-u8"})

    def load(self) -> None:
        for module in (
            "onnx.version_converter",
            "onnxruntime.quantization",
            "onnxruntime.quantization.shape_inference",
        ):
            importlib.import_module(module)

    def quantize(self, request: Request) -> None:
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        method, kind = request.configuration.split("-")
        signed = kind == "s8"
        with tempfile.TemporaryDirectory() as folder:
            quantize_static(
                _preprocessed(request.model, Path(folder)),
                request.out,
                Reader(request.feeds),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method={
                    "minmax": CalibrationMethod.MinMax,
                    "entropy": CalibrationMethod.Entropy,
                    "percentile": CalibrationMethod.Percentile,
                }[method],
                extra_options={"ActivationSymmetric": signed, "WeightSymmetric": True},
            )


def _preprocessed(model: Path, folder: Path) -> Path:
    import onnx
    from onnx import version_converter
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source, out = folder / "model.onnx", folder / "preprocessed.onnx"
    proto = onnx.load(model)
    opset = next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    onnx.save(version_converter.convert_version(proto, OPSET) if opset < 13 else proto, source)
    try:
        quant_pre_process(source, out)
    except Exception as error:  # its symbolic shape inference raises bare Exceptions; it is advised to be skipped then
        logging.warning("onnxruntime preprocessing without symbolic shapes: %s", error)
        quant_pre_process(source, out, skip_symbolic_shape=True)
    return out


class Reader:
    """onnxruntime's CalibrationDataReader over feeds in memory."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds = feeds
        self._next: Iterator[Feed] = iter(feeds)

    def get_next(self) -> dict[str, object] | None:
        feed = next(self._next, None)
        return dict(feed) if feed is not None else None

    def rewind(self) -> None:
        self._next = iter(self._feeds)

    def get_first(self) -> dict[str, object]:
        return dict(self._feeds[0])

    def __len__(self) -> int:
        return len(self._feeds)

    def __iter__(self) -> Iterator[Feed]:
        return iter(self._feeds)

    def __next__(self) -> Feed:
        return next(self._next)


TOOL = OnnxRuntime()
