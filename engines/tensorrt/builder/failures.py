"""Turn what TensorRT's parser and builder say into one error with the ONNX node and a fix.

``failure_rules`` says what each message means; an unknown one is passed on in TensorRT's own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from engines.errors import BuildError, BuildFailure
from engines.tensorrt.builder.failure_rules import BUILDER_RULES, LEAVE_TO_CPU, PARSER_RULES, Rule, advice
from engines.tensorrt.builder.node_layers import ends_of

_CUDA_NOISE = re.compile(r"^.*\(cudaError 35: .*$\n?", re.MULTILINE)  # "no driver", a consequence and not a cause
_SOURCE = re.compile(r"\s*In \w+ at /_src/\S+?:\d+\)?")
_PREFIX = re.compile(r"^[\w:]+: Error Code \d+: (?:API Usage Error \()?")
_REPEATED = re.compile(r"^Invalid Node - .*\n")  # the node is named beside the text
_CONDITION = re.compile(r"^(?:Assertion failed: )?.*? && \"(?P<words>[^\"]*)\"\s*$", re.DOTALL)
_ASSERTION = re.compile(r"^Assertion failed: (?:.*?): (?P<words>[A-Z].*)$", re.DOTALL)
_VERSION = re.compile(r"^This version of TensorRT")
_NO_IMPORTER = "false"  # all that the parser says of an operator it does not know
_SHORT_TYPES = {"b16": "bfloat16", "h16": "float16"}
_UNNAMED = re.compile(r"\(Unnamed Layer\* \d+\) \[[^\]]*\]")
_LOG_LINES = 20  # of the library's errors, kept with ours
"""Last lines of the builder's log that go with an error. Chosen."""


@dataclass(frozen=True)
class ParserMessage:
    """One error of ``OnnxParser``: code name (``"UNSUPPORTED_NODE"``), the node's name and op type, the text.

    ``outputs`` are the outputs the node gives besides its first, in words; ``odd`` is the type of a tensor that
    TensorRT does not take.
    """

    code: str
    node: str
    operator: str
    text: str
    outputs: str = "more"
    odd: str = "of a type"


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
        return BuildError(BuildFailure.OTHER, spoken(first.text), where=first.node, fix=LEAVE_TO_CPU, log=tail)
    return BuildError(BuildFailure.OTHER, "TensorRT's ONNX parser gave no reason", log=tail)


def _unsupported(message: ParserMessage, log: str) -> BuildError:
    operator, reason = message.operator, spoken(message.text)
    if operator and reason == _NO_IMPORTER:
        what = f"operator {operator} is not supported by TensorRT"
    else:
        what = f"{operator} as it is used here: {reason}" if operator else reason
    return BuildError(BuildFailure.UNSUPPORTED_OP, what, where=message.node, fix=LEAVE_TO_CPU, log=log)


def build_failure(
    errors: Sequence[str],
    operators: Mapping[str, str],
    control_flow: str = "",
    precision: str = "",
    lacks_kernels: bool = False,
    unnamed: Mapping[str, str] | None = None,
) -> BuildError:
    """The error for a network that TensorRT does not build, after its ERROR messages.

    ``operators`` are op types by ONNX node. ``control_flow`` is the first If, Loop or Scan node of the graph, which
    TensorRT does not name when it fails there. ``precision`` is what the graph is typed in: advice must not repeat it.
    ``lacks_kernels``: the library goes without those that it takes from others. ``unnamed`` holds the ONNX nodes of
    layers without a name of their own (``"(Unnamed Layer* 3) [Shuffle]"``).
    """
    text = "\n".join(_CUDA_NOISE.sub("", error) for error in errors).strip()
    for rule in BUILDER_RULES:
        if match := rule.pattern.search(text):
            operation = match.groupdict().get("node") or ""
            node = control_flow if rule.at_control_flow else _onnx_name(operation, set(operators), unnamed or {})
            message = ParserMessage("", node, operators.get(node, ""), text)
            return _error(rule, match, message, _tail(errors), advice(precision, lacks_kernels))
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
    kept = _REPEATED.sub("", _SOURCE.sub("", _CUDA_NOISE.sub("", text)).strip())
    return _PREFIX.sub("", kept.partition("\n")[0]) or text.strip()


def spoken(text: str) -> str:
    """``clean`` words of a failed check, without the condition in C++ that it tested.

    ``dilation == 1 && "This version of TensorRT does not support dilations."`` is
    ``TensorRT does not support dilations``.
    """
    words = clean(text)
    if match := _CONDITION.match(words) or _ASSERTION.match(words):
        words = match["words"].strip()
    return _VERSION.sub("TensorRT", words).rstrip(".!")


def _error(
    rule: Rule, match: re.Match[str], message: ParserMessage, log: str, advised: Mapping[str, str] | None = None
) -> BuildError:
    words = {name: value or "" for name, value in match.groupdict().items()}
    words["type"] = _SHORT_TYPES.get(words.get("type", ""), words.get("type", ""))
    words |= {"op": message.operator or "the node", "text": spoken(message.text)}
    words |= {"outputs": message.outputs, "odd": message.odd} | dict(advised or advice(""))
    return BuildError(
        rule.failure,
        rule.what.format(**words),
        where=message.node,
        expected=rule.expected.format(**words),
        fix=rule.fix.format(**words),
        log=log,
    )


def _onnx_name(operation: str, nodes: set[str], unnamed: Mapping[str, str]) -> str:
    """The ONNX node of a builder operation, whose name is the node's with a suffix (``fc_myl0_3``), or joined names;
    ``"first to last"`` of what the builder's compiler takes as one; by ``unnamed`` what one node of many layers made.
    """
    if len(ends := ends_of(operation)) > 1:
        return " to ".join(_onnx_name(end, nodes, unnamed) for end in ends)
    if operation in nodes or not nodes:
        return operation
    candidates = [node for node in nodes if node and node in operation]
    layer = _UNNAMED.search(operation)
    return max(candidates, key=len, default=(unnamed.get(layer[0]) if layer else "") or operation)


def _tail(log: Iterable[str]) -> str:
    return "\n".join(list(log)[-_LOG_LINES:])
