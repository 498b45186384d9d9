"""BERT-Large for question answering as MLCommons' inference suite has it: 24 layers of 1024, 16 heads.

Source: mlcommons/inference ``language/bert`` (``bert_config.json``). The feature is computed at the length given;
padding is not modelled, since NVIDIA's harness removes it."""

from __future__ import annotations

import onnx_ir as ir

from studies.roofline.models.graph import GraphWriter

LAYERS, HIDDEN, HEADS, WIDE, VOCABULARY, POSITIONS = 24, 1024, 16, 4096, 30522, 512


def bert_large(precision: str, length: int = 384) -> ir.Model:
    """Input ``input_ids`` int64 [N, length]; output ``logits`` [N, length, 2]; 335 M weights."""
    graph = GraphWriter("bert_large", precision)
    tokens = graph.tokens("input_ids", length)
    words = graph.op("Gather", [graph.floats("embeddings.words", (VOCABULARY, HIDDEN)), tokens], "embeddings.lookup")
    data = graph.op("Add", [words, graph.floats("embeddings.positions", (length, HIDDEN))], "embeddings.sum")
    data = _norm(graph, data, "embeddings.norm")
    for layer in range(LAYERS):
        data = _layer(graph, data, f"layer{layer}", length)
    return graph.model([_linear(graph, data, "logits", HIDDEN, 2)])


def _layer(graph: GraphWriter, data: ir.Value, name: str, length: int) -> ir.Value:
    mixed = _linear(graph, _attention(graph, data, name, length), f"{name}.project", HIDDEN, HIDDEN)
    residual = graph.op("Add", [mixed, graph.quantized(data)], f"{name}.add1")
    data = _norm(graph, residual, f"{name}.norm1")
    wide = graph.op("Gelu", [_linear(graph, data, f"{name}.up", HIDDEN, WIDE)], f"{name}.gelu")
    narrow = _linear(graph, wide, f"{name}.down", WIDE, HIDDEN)
    return _norm(graph, graph.op("Add", [narrow, graph.quantized(data)], f"{name}.add2"), f"{name}.norm2")


def _attention(graph: GraphWriter, data: ir.Value, name: str, length: int) -> ir.Value:
    """One product makes query, key and value together, as TensorRT's own merging of the three does."""
    joint = _linear(graph, data, f"{name}.qkv", HIDDEN, 3 * HIDDEN)
    split = graph.integers("heads.split", [0, length, 3, HEADS, HIDDEN // HEADS])
    parts = graph.op("Reshape", [joint, split], f"{name}.parts")
    query, key, value = (_part(graph, parts, name, index) for index in range(3))
    turned = graph.op("Transpose", [key], f"{name}.turned", perm=[0, 1, 3, 2])
    scores = graph.op("MatMul", [graph.quantized(query), graph.quantized(turned)], f"{name}.scores")
    scaled = graph.op("Mul", [scores, graph.floats("heads.scale", ())], f"{name}.scaled")
    shares = graph.op("Softmax", [scaled], f"{name}.softmax", axis=-1)
    mixed = graph.op("MatMul", [graph.quantized(shares), graph.quantized(value)], f"{name}.mixed")
    rows = graph.op("Transpose", [mixed], f"{name}.rows", perm=[0, 2, 1, 3])
    joined = graph.integers("heads.join", [0, length, HIDDEN])
    return graph.op("Reshape", [rows, joined], f"{name}.context")


def _part(graph: GraphWriter, parts: ir.Value, name: str, index: int) -> ir.Value:
    picked = graph.op("Gather", [parts, graph.integers(f"part{index}", index)], f"{name}.{index}", axis=2)
    return graph.op("Transpose", [picked], f"{name}.{index}.heads", perm=[0, 2, 1, 3])


def _linear(graph: GraphWriter, data: ir.Value, name: str, inputs: int, outputs: int) -> ir.Value:
    weight = graph.weight(f"{name}.weight", (inputs, outputs), axis=1)
    product = graph.op("MatMul", [graph.quantized(data), weight], f"{name}.matmul")
    return graph.op("Add", [product, graph.floats(f"{name}.bias", (outputs,))], name)


def _norm(graph: GraphWriter, data: ir.Value, name: str) -> ir.Value:
    gain, shift = graph.floats(f"{name}.gain", (HIDDEN,)), graph.floats(f"{name}.shift", (HIDDEN,))
    return graph.op("LayerNormalization", [data, gain, shift], name)
