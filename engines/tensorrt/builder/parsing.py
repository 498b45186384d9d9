"""From an ONNX file to a TensorRT network, or to the one error that says which node is refused and why."""

from __future__ import annotations

from typing import Any

from engines.tensorrt.builder.blame import BlamedGraph
from engines.tensorrt.builder.failure_rules import UINT8_WARNING, UNKNOWN_TYPE
from engines.tensorrt.builder.failures import ParserMessage, empty_network, parse_failure, uint8_quantization
from engines.tensorrt.builder.messages import BuildMessages
from engines.tensorrt.differences import network_flags
from engines.tensorrt.library import Library, process_logger


def parse(library: Library, builder: Any, graph: BlamedGraph, messages: BuildMessages) -> Any:
    """The ``INetworkDefinition`` of a model; the caller keeps it and ``builder`` alive. Raises ``BuildError``."""
    network = builder.create_network(network_flags(library))  # the parser keeps no reference: this one must outlive it
    parser = library.module.OnnxParser(network, process_logger(library))
    if not parser.parse_from_file(str(graph.model)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        said = [_message(library, error, graph) for error in errors]
        raise parse_failure(said, messages.of("ERROR", "INTERNAL_ERROR"))
    if network.num_layers == 0 or network.num_outputs == 0:
        raise empty_network()
    if any(UINT8_WARNING in warning for warning in messages.of("WARNING")):
        raise uint8_quantization(_first_quantize(network))
    return network


def _message(library: Library, error: Any, graph: BlamedGraph) -> ParserMessage:
    code, text = str(error.code()).rpartition(".")[2], error.desc() or ""
    node, operator = _refused(library, error, graph)
    if not node and UNKNOWN_TYPE in text:
        node, odd = graph.odd_input()
        return ParserMessage(code, node, "", text, odd=odd or "of a type")
    operator = operator or (error.func() or "").partition("import")[2]  # errors of attributes name neither
    node = node or graph.only(operator)
    outputs = graph.further_outputs(node) if "output" in text else "more"
    return ParserMessage(code, node, operator, text, outputs)


def _refused(library: Library, error: Any, graph: BlamedGraph) -> tuple[str, str]:
    """Name and op type of the node that an error is about, empty where it is about none. Old parsers count nodes."""
    if library.capabilities.parser_names_nodes:
        return error.node_name(), error.node_operator()
    return graph.at(int(error.node()))


def _first_quantize(network: Any) -> str:
    layers = (network.get_layer(index) for index in range(network.num_layers))
    return next((str(layer.name) for layer in layers if str(layer.type).endswith(".QUANTIZE")), "")
