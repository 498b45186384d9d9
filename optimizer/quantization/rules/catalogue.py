"""The placement rules by name, each with the text that ``optimize explain`` prints. Numbers 1 and 4, how tensors become
codes and that biases stay float, are no decisions about a node: they are values of a ``Scheme``.

Sources: TensorRT documentation, "Explicit Quantization" and "Working with Quantized Types"; NVIDIA Model-Optimizer
``modelopt/onnx/quantization`` (partitioning, graph_utils); the "Add Custom QDQ Insertion Case" page of NVIDIA's
quantization toolkit; layer dumps of TensorRT-RTX builds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class _Text:
    number: int
    title: str
    why: str


class Rule(Enum):
    """A placement rule. ``reason("detail")`` is the sentence that lands in the precision plan."""

    SCALE_GRANULARITY = _Text(
        2, "one scale per activation, one per weight channel", "other granularities parse but do not fuse"
    )
    EVERY_WEIGHTED_INPUT = _Text(
        3, "quantize data and weight of a weighted op", "an integer kernel needs both operands in int8"
    )
    NO_OUTPUT_QUANTIZATION = _Text(
        5, "no Q/DQ on the output of a weighted op", "Conv, its activation and its Add must stay contiguous to fuse"
    )
    RESIDUAL_ADD = _Text(
        6, "quantize only the skip input of a residual Add", "the other input is fused into the conv's epilogue"
    )
    COMMUTING_OPS = _Text(
        7, "no extra Q/DQ around ops that commute with it", "TensorRT moves Q backwards and DQ forwards through them"
    )
    CONCAT_ONE_SCALE = _Text(
        8, "one scale for a Concat, where its inputs are alike", "unlike ranges would round the smaller branch to zero"
    )
    KEEP_FLOAT = _Text(
        9,
        "high precision for range-sensitive ops",
        "normalization, softmax and smooth activations lose more than int8 saves",
    )
    ATTENTION = _Text(10, "attention products stay in high precision", "the fused attention kernel takes them in FP16")
    SMALL_OPS = _Text(11, "small or narrow ops stay in high precision", "int8 tiles would be mostly padding")
    GRAPH_OUTPUT = _Text(
        12, "graph outputs are not quantized", "a result that mixes units (boxes, probabilities) has no common scale"
    )
    BOTH_OR_NEITHER = _Text(
        13, "elementwise joins: both inputs or neither", "one odd Q/DQ pair splits the fusion it stands in"
    )
    HIGH_PRECISION_REST = _Text(14, "everything else in high precision", "FP16 scales make DequantizeLinear yield FP16")
    CALIBRATED_RANGE = _Text(
        15, "ranges come from calibration; weights from their own values", "a range nobody measured is a guess"
    )
    WEIGHTS_ALONE = _Text(
        16, "only weights are stored as codes", "the product is computed in float, and reads fewer bytes"
    )
    BLOCKS = _Text(17, "block scales are for matrix products only", "TensorRT has no other kernels for them")

    @property
    def number(self) -> int:
        return self.value.number

    @property
    def title(self) -> str:
        return self.value.title

    @property
    def why(self) -> str:
        return self.value.why

    def reason(self, detail: str = "") -> str:
        """``"rule 11 (small or narrow ops stay in high precision): N is 1"``."""
        head = f"rule {self.number} ({self.title})"
        return f"{head}: {detail}" if detail else head
