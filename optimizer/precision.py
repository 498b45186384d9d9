"""The precision plan: for every node, the dtype it computes in, why, and what that costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum


class Dtype(str, Enum):
    """What a node computes in; ``int8wo`` and ``int4`` are weights stored so whose products are of floats."""

    INT8 = "int8"
    FP8 = "fp8"
    INT8WO = "int8wo"
    INT4 = "int4"
    NVFP4 = "nvfp4"
    MXFP8 = "mxfp8"
    FP16 = "fp16"
    BF16 = "bf16"
    FP32 = "fp32"

    @property
    def half(self) -> bool:
        """A float type of 16 bits."""
        return self in (Dtype.FP16, Dtype.BF16)

    @property
    def quantized(self) -> bool:
        """Whether weights, or operands, are codes with scales."""
        return self not in (Dtype.FP16, Dtype.BF16, Dtype.FP32)


@dataclass(frozen=True)
class NodePrecision:
    """``reason`` names the placement rule or measurement behind the choice; ``macs`` per sample; ``cost_db`` is the
    output SQNR measured with only this node quantized; ``drift_db`` the SQNR of its own result against FP32 with all
    the graph as planned; ``milliseconds`` what its kernel takes of one inference on the engine that runs this graph:
    each where it was measured. ``sparsity`` is ``2:4`` where the weight has that pattern in this very graph, else
    empty; ``sparsity_reason`` says why it has, or why it stays dense though 2:4 was asked for; ``pruned``: its zeros
    were made here, by changing the weight."""

    dtype: Dtype
    reason: str
    op_type: str = ""
    macs: int = 0
    cost_db: float | None = None
    drift_db: float | None = None
    milliseconds: float | None = None
    sparsity: str = ""
    sparsity_reason: str = ""
    pruned: bool = False


@dataclass(frozen=True)
class ErrorOrigin:
    """Where the error of the worst ``output``, which has ``sqnr_db`` against FP32, begins: at ``node``, whose result
    has ``after_db`` where the worst it reads has ``before_db`` (None: its operands are exact). ``steep``: it falls
    there by 6 dB or more; else the error grows along the graph, and this is the first node below half way. ``samples``
    were run; ``measured`` of ``tensors`` results were read.
    """

    output: str
    sqnr_db: float
    node: str
    op_type: str
    after_db: float
    before_db: float | None
    steep: bool
    samples: int
    measured: int
    tensors: int

    @property
    def sentence(self) -> str:
        """``output logits has 42.3 dB against FP32; the error begins at conv1 (Conv), …``"""
        before = "its operands are exact" if self.before_db is None else f"what it reads {self.before_db:.1f} dB"
        how = "begins" if self.steep else "grows along the graph; half of it is there"
        read = "" if self.measured == self.tensors else f", {self.measured} of {self.tensors} results read"
        return (
            f"output {self.output} has {self.sqnr_db:.1f} dB against FP32; the error {how} at {self.node} "
            f"({self.op_type}), whose result has {self.after_db:.1f} dB and {before} ({self.samples} samples{read})"
        )


@dataclass(frozen=True)
class PrecisionPlan:
    """Node name -> precision, in graph order; ``notes`` say what passes and corrections did to the graph, ``origin``
    where its error begins, if there is one to speak of.
    """

    nodes: dict[str, NodePrecision]
    notes: list[str] = field(default_factory=list)
    origin: ErrorOrigin | None = None

    @property
    def computes_in(self) -> str:
        """What the heavy nodes compute in: the quantized dtype of most MACs where any is quantized, else the float one;
        empty for no nodes."""
        macs: dict[Dtype, int] = {}
        for node in self.nodes.values():
            macs[node.dtype] = macs.get(node.dtype, 0) + node.macs
        quantized = {dtype: count for dtype, count in macs.items() if dtype.quantized} or macs
        return max(quantized, key=lambda dtype: quantized[dtype]).value if quantized else ""

    @property
    def quantized_shares(self) -> dict[str, float]:
        """Share of all multiply-accumulates (0 to 1) planned in each quantized dtype that there is."""
        total = sum(node.macs for node in self.nodes.values())
        macs: dict[str, int] = {}
        for node in self.nodes.values():
            if node.dtype.quantized:
                macs[node.dtype.value] = macs.get(node.dtype.value, 0) + node.macs
        return {dtype: count / total for dtype, count in macs.items() if total}

    def counts(self) -> dict[str, int]:
        return dict(Counter(node.dtype.value for node in self.nodes.values()))
