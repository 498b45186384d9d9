"""What ONNX Runtime says when it refuses a model or fails on it, without the wrapping: its own reason, in its words.

As it comes: ``[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running ConvInteger node. Name:'c'
Status Message: /onnxruntime_src/…/conv_integer.cc:52 virtual onnxruntime::common::Status
onnxruntime::ConvInteger::Compute(onnxruntime::OpKernelContext*) const W was false. Non per-tensor …``
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_NODE = re.compile(r"Non-zero status code returned while running (\w+) node\. Name:'([^']*)' Status Message: ")
_LOADING = re.compile(r"^Load model from .*? failed: ?")
_NOISE = ("Fatal error: ", "Exception during initialization: ", "Exception caught: ")
_SOURCE = re.compile(r"\S*/onnxruntime/\S+\.(?:cc|h|cpp):\d+ (?:[^()]*\([^()]*\)(?: const)?(?: \[with [^\]]*\])? )?")
_NO_KERNEL = re.compile(r"Could not find an implementation for (?P<op>[\w.]+)\(\d+\) node with name '(?P<node>[^']*)'")
_NO_OPERATOR = re.compile(r"(?P<op>[\w.:]+)\(-?\d+\) is not a registered function/op")


@dataclass(frozen=True)
class MissingOperator:
    """An operator that ONNX Runtime lacks, ``known`` for other types only; ``node`` is empty where it names none."""

    operator: str
    node: str = ""
    known: bool = True

    @property
    def sentence(self) -> str:
        if self.known:
            return f"ONNX Runtime has no CPU kernel for operator {self.operator} with these types"
        return f"ONNX Runtime does not know the operator {self.operator}"


def missing_operator(error: BaseException | None) -> MissingOperator | None:
    """The operator that ``error`` of ONNX Runtime's is about, None where it is about another thing."""
    if found := _NO_KERNEL.search(str(error)):
        return MissingOperator(found["op"], found["node"])
    if found := _NO_OPERATOR.search(str(error)):
        return MissingOperator(found["op"], known=False)
    return None


def refusal_of(error: Exception) -> str:
    """Why a model is not loaded, with the name of who says so."""
    reason = reason_of(error)
    return reason if reason.startswith("ONNX Runtime") else f"ONNX Runtime refuses it: {reason}"


def reason_of(error: Exception) -> str:
    """The first line of what it says; ``Operator 'node': reason`` where it names one."""
    if missing := missing_operator(error):
        return f"{missing.sentence} (node {missing.node!r})" if missing.node else missing.sentence
    text = _LOADING.sub("", _PREFIX.sub("", str(error).strip().partition("\n")[0]))
    for words in _NOISE:
        text = text.replace(words, "")
    text = _SOURCE.sub("", text)
    text = _NODE.sub(lambda found: f"{found[1]} {found[2]!r}: " if found[2] else f"{found[1]}: ", text)
    return text.strip() or type(error).__name__
