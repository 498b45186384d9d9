"""Turn what TensorRT's parser and builder say into one error with the ONNX node and a fix.

``failure_rules`` says what each message means; an unknown one is passed on in TensorRT's own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engines.errors import BuildError, BuildFailure
from engines.tensorrt.failure_rules import BUILDER_RULES, LEAVE_TO_CPU, PARSER_RULES, Rule

_CUDA_NOISE = re.compile(r"^.*\(cudaError 35: .*$\n?", re.MULTILINE)  # "no driver", a consequence and not a cause
_SOURCE = re.compile(r"\s*In \w+ at /_src/\S+?:\d+\)?")
_PREFIX = re.compile(r"^[\w:]+: Error Code \d+: ")
_LOG_LINES = 20


@dataclass(frozen=True)
class ParserMessage:
    """One error of ``OnnxParser``: code name (``"UNSUPPORTED_NODE"``), the node's name and op type, the text."""

    code: str
    node: str
    operator: str
    text: str


def parse_failure(messages: Sequence[ParserMessage], log: Iterable[str] = ()) -> BuildError:
    """The error for a model that TensorRT's ONNX parser refuses; the first message that names a cause decides."""
    tail = _tail(log)
    for message in messages:
        for rule in PARSER_RULES:
            if match := rule.pattern.search(message.text):
                return _error(rule, match, message, tail)
        if message.code.startswith("UNSUPPORTED_NODE"):
            return _unsupported(message, tail)
    if messages:
        first = messages[0]
        return BuildError(BuildFailure.OTHER, clean(first.text), where=first.node, fix=LEAVE_TO_CPU, log=tail)
    return BuildError(BuildFailure.OTHER, "TensorRT's ONNX parser gave no reason", log=tail)


def _unsupported(message: ParserMessage, log: str) -> BuildError:
    operator = message.operator
    what = f"operator {operator} is not supported by TensorRT" if operator else clean(message.text)
    return BuildError(BuildFailure.UNSUPPORTED_OP, what, where=message.node, fix=LEAVE_TO_CPU, log=log)


def build_failure(errors: Sequence[str], onnx_nodes: Iterable[str] = (), control_flow: str = "") -> BuildError:
    """The error for a network that TensorRT does not build, after its ERROR messages.

    ``control_flow`` is the first If, Loop or Scan node of the graph, which TensorRT does not name when it fails there.
    """
    text = "\n".join(_CUDA_NOISE.sub("", error) for error in errors).strip()
    nodes = set(onnx_nodes)
    for rule in BUILDER_RULES:
        if match := rule.pattern.search(text):
            operation = match.groupdict().get("node") or ""
            node = control_flow if rule.at_control_flow else _onnx_name(operation, nodes)
            return _error(rule, match, ParserMessage("", node, "", text), _tail(errors))
    what = clean(text) if text else "TensorRT's builder gave no reason"
    return BuildError(BuildFailure.OTHER, what, log=_tail(errors))


def empty_network() -> BuildError:
    """The error for a model that parses to nothing: TensorRT takes an empty file for a valid, empty network."""
    return BuildError(
        BuildFailure.OTHER,
        "the model has no layers or no outputs",
        expected="an ONNX graph with at least one node and one output",
        fix="check the file with `optimize inspect MODEL`",
    )


def uint8_quantization(node: str) -> BuildError:
    """The error for uint8 Q/DQ, which TensorRT would silently compute as int8: other numbers than the graph states."""
    return BuildError(
        BuildFailure.UNSUPPORTED_TYPE,
        "the graph quantizes to uint8, which TensorRT would read as int8",
        where=node,
        expected="signed int8 with zero point 0",
        fix="start from the float model and let --precision int8 place the Q/DQ nodes",
    )


def clean(text: str) -> str:
    """TensorRT's words without the noise of a machine with no driver, source positions and prefixes."""
    kept = _SOURCE.sub("", _CUDA_NOISE.sub("", text)).strip()
    return _PREFIX.sub("", kept.partition("\n")[0]) or text.strip()


def _error(rule: Rule, match: re.Match[str], message: ParserMessage, log: str) -> BuildError:
    words = {name: value or "" for name, value in match.groupdict().items()}
    words |= {"op": message.operator or "the node", "text": clean(message.text)}
    return BuildError(
        rule.failure,
        rule.what.format(**words),
        where=message.node,
        expected=rule.expected.format(**words),
        fix=rule.fix.format(**words),
        log=log,
    )


def _onnx_name(operation: str, nodes: set[str]) -> str:
    """The ONNX node of a builder operation, whose name is the node's with a suffix (``fc_myl0_3``), or joined names."""
    if operation in nodes or not nodes:
        return operation
    candidates = [node for node in nodes if node and node in operation]
    return max(candidates, key=len, default=operation)


def _tail(log: Iterable[str]) -> str:
    return "\n".join(list(log)[-_LOG_LINES:])
