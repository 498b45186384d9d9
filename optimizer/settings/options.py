"""The values that options of a job take."""

from __future__ import annotations

from enum import Enum


class Precision(str, Enum):
    """What the heavy nodes should compute in; ``auto`` is int8 where that stays within the usual budget, else
    fp16; with a budget that is given, what of int8, fp8 (where every target has it), fp16 and fp32 is best for each.
    ``int8wo`` and ``int4`` store weights alone so, their products are of floats.
    """

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    FP8 = "fp8"
    INT8WO = "int8wo"
    INT4 = "int4"
    NVFP4 = "nvfp4"
    MXFP8 = "mxfp8"
    AUTO = "auto"

    @property
    def quantized(self) -> bool:
        return self not in (Precision.FP32, Precision.FP16, Precision.BF16)


class Sparsity(str, Enum):
    """``2:4`` prunes, and warns of targets that gain nothing; ``2:4-required`` refuses those."""

    NONE = "none"
    TWO_FOUR = "2:4"
    REQUIRED = "2:4-required"

    @property
    def asked(self) -> bool:
        return self is not Sparsity.NONE


CALIBRATION_METHODS = ("auto", "minmax", "entropy", "percentile", "mse")
USUAL_DROP = 0.01
"""The accuracy budget where none was given. Chosen: what MLPerf asks of its closed division."""
OPTIMIZE_FOR = ("latency", "throughput", "size", "energy")
CPU_FORMS = ("auto", "int8", "fp32")
GPU_FORMS = ("auto", "asked")
KEEP = "keep"
IO_PRECISIONS = (KEEP, "fp32", "fp16", "bf16")
BATCH_AXES = ("auto", "0", "none")
SCENARIOS = ("singlestream", "multistream", "server", "offline")
