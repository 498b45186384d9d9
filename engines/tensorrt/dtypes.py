"""TensorRT's data types by numpy's names."""

from __future__ import annotations

from typing import Any

TENSORRT_TYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "FP8": "float8_e4m3fn",
}
"""Name in ``trt.DataType`` -> numpy dtype name: the types that an array can hold (``INT4`` and ``FP4`` are packed)."""


def type_name(dtype: Any) -> str:
    """The name of a ``trt.DataType``, ``"HALF"``."""
    return str(dtype).rpartition(".")[2]
