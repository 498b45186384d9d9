"""ResNet-50 v1.5 and BERT-base as ONNX graphs with seeded random weights: the real shapes, no download.

Accuracy means nothing here; build time, plan size, kernels and memory do not depend on what the weights are.
Sources: He et al. 2016 with the stride in the 3x3 convolution (v1.5, torchvision); Devlin et al. 2019, BERT-base.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17  # the first with LayerNormalization
BATCH = "batch"
HIDDEN, HEADS, LAYERS, FEED_FORWARD, VOCABULARY, POSITIONS = 768, 12, 12, 3072, 30522, 512
RESNET50_FEATURES = 2048
"""Channels behind the last bottleneck."""
_MASKED = -10000.0  # added to the scores of padding, as in the original implementation


@dataclass
class _Graph:
    """Nodes and weights so far; every method returns the name of its result."""

    random: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)

    def op(self, op_type: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, name: str, *shape: int, scale: float) -> str:
        values = self.random.standard_normal(shape, dtype=np.float32) * np.float32(scale)
        return self.constant(name, values)

    def constant(self, name: str, values: NDArray[Any] | float) -> str:
        self.weights[name] = np.asarray(values, None if isinstance(values, np.ndarray) else np.float32)
        return name

    def linear(self, data: str, name: str, inputs: int, outputs: int) -> str:
        weight = self.weight(f"{name}.weight", inputs, outputs, scale=0.02)  # BERT's initializer range
        product = self.op("MatMul", [data, weight], f"{name}.matmul")
        return self.op("Add", [product, self.constant(f"{name}.bias", np.zeros(outputs, np.float32))], name)

    def norm(self, data: str, name: str) -> str:
        gain = self.constant(f"{name}.gain", np.ones(HIDDEN, np.float32))
        shift = self.constant(f"{name}.shift", np.zeros(HIDDEN, np.float32))
        return self.op("LayerNormalization", [data, gain, shift], name, axis=-1, epsilon=1e-12)

    def save(self, path: Path, name: str, inputs: Sequence[onnx.ValueInfoProto], output: onnx.ValueInfoProto) -> None:
        tensors = [numpy_helper.from_array(values, key) for key, values in self.weights.items()]
        graph = helper.make_graph(self.nodes, name, list(inputs), [output], tensors)
        onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8), path)


def resnet50_blocks() -> Iterator[tuple[int, int, int, int, int]]:
    """Of every bottleneck of ResNet-50 in order: stage from 1, block in it from 0, channels in, width, stride."""
    channels = 64
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), start=1):
        for block in range(blocks):
            yield stage, block, channels, width, 2 if block == 0 and stage > 1 else 1
            channels = 4 * width


def save_resnet50(path: Path, seed: int = 0) -> None:
    """``input`` [batch, 3, 224, 224] -> ``logits`` [batch, 1000]; 25.6 M parameters, 4.1 GMACs per image."""
    graph = _Graph(np.random.default_rng(seed))
    data = _conv(graph, "input", "conv1", 3, 64, kernel=7, stride=2)
    data = graph.op("MaxPool", [data], "maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage, block, channels, width, stride in resnet50_blocks():
        data = _bottleneck(graph, data, f"layer{stage}.{block}", channels, width, stride)
    pooled = graph.op("Flatten", [graph.op("GlobalAveragePool", [data], "avgpool")], "flatten", axis=1)
    weight = graph.weight("fc.weight", 1000, RESNET50_FEATURES, scale=0.01)
    bias = graph.constant("fc.bias", np.zeros(1000, np.float32))
    graph.op("Gemm", [pooled, weight, bias], "logits", transB=1)
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [BATCH, 3, 224, 224])
    graph.save(path, "resnet50", [image], helper.make_tensor_value_info("logits", TensorProto.FLOAT, [BATCH, 1000]))


def _bottleneck(graph: _Graph, data: str, name: str, channels: int, width: int, stride: int) -> str:
    inner = _conv(graph, data, f"{name}.conv1", channels, width)
    inner = _conv(graph, inner, f"{name}.conv2", width, width, kernel=3, stride=stride)
    inner = _conv(graph, inner, f"{name}.conv3", width, 4 * width, relu=False, gain=0.3)
    if stride != 1 or channels != 4 * width:
        data = _conv(graph, data, f"{name}.downsample", channels, 4 * width, stride=stride, relu=False)
    return graph.op("Relu", [graph.op("Add", [inner, data], f"{name}.add")], f"{name}.relu")


def _conv(
    graph: _Graph,
    data: str,
    name: str,
    channels: int,
    filters: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    relu: bool = True,
    gain: float = 1.0,
) -> str:
    """Convolution without bias, batch normalization, ReLU. ``gain`` below 1 keeps residual sums from growing."""
    scale = (2 / (channels * kernel * kernel)) ** 0.5  # He et al. 2015: keeps the variance through a ReLU
    weight = graph.weight(f"{name}.weight", filters, channels, kernel, kernel, scale=scale)
    pads = [kernel // 2] * 4
    made = graph.op("Conv", [data, weight], name, kernel_shape=[kernel, kernel], strides=[stride, stride], pads=pads)
    ones, zeros = np.ones(filters, np.float32), np.zeros(filters, np.float32)
    parts = (("gain", ones * np.float32(gain)), ("shift", zeros), ("mean", zeros), ("variance", ones))
    statistics = [graph.constant(f"{name}.bn.{part}", values) for part, values in parts]
    made = graph.op("BatchNormalization", [made, *statistics], f"{name}.bn")
    return graph.op("Relu", [made], f"{name}.relu") if relu else made


def save_bert_base(path: Path, seed: int = 0) -> None:
    """``input_ids``, ``attention_mask``, ``token_type_ids`` int64 [batch, sequence] -> ``logits`` [batch, sequence, 2]
    (start and end of an answer, the head of SQuAD); 109 M parameters."""
    graph = _Graph(np.random.default_rng(seed))
    data = _embeddings(graph)
    mask = graph.op("Cast", [graph.op("Unsqueeze", ["attention_mask", _axes(graph, 1, 2)], "mask.wide")], "mask", to=1)
    absent = graph.op("Sub", [graph.constant("one", 1.0), mask], "mask.absent")
    bias = graph.op("Mul", [absent, graph.constant("masked", _MASKED)], "mask.bias")
    for layer in range(LAYERS):
        data = _encoder_layer(graph, data, bias, f"layer{layer}")
    graph.linear(data, "logits", HIDDEN, 2)
    names = ("input_ids", "attention_mask", "token_type_ids")
    shape: list[str | int | None] = [BATCH, "sequence"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in names]
    graph.save(path, "bert_base", inputs, helper.make_tensor_value_info("logits", TensorProto.FLOAT, [*shape, 2]))


def _axes(graph: _Graph, *axes: int) -> str:
    return graph.constant(f"axes{''.join(map(str, axes))}", np.array(axes, np.int64))


def _embeddings(graph: _Graph) -> str:
    words = graph.weight("embeddings.words", VOCABULARY, HIDDEN, scale=0.02)
    kinds = graph.weight("embeddings.kinds", 2, HIDDEN, scale=0.02)
    places = graph.weight("embeddings.places", POSITIONS, HIDDEN, scale=0.02)
    word = graph.op("Gather", [words, "input_ids"], "embeddings.word")
    kind = graph.op("Gather", [kinds, "token_type_ids"], "embeddings.kind")
    length = graph.op("Gather", [graph.op("Shape", ["input_ids"], "shape"), _axes(graph, 1)], "length")
    start = graph.constant("start", np.zeros(1, np.int64))
    rows = _axes(graph, 0)
    place = graph.op("Slice", [places, start, length, rows], "embeddings.place")
    joined = graph.op("Add", [graph.op("Add", [word, kind], "embeddings.add1"), place], "embeddings.add2")
    return graph.norm(joined, "embeddings.norm")


def _encoder_layer(graph: _Graph, data: str, bias: str, name: str) -> str:
    attended = graph.linear(_attention(graph, data, bias, f"{name}.attention"), f"{name}.attention.out", HIDDEN, HIDDEN)
    data = graph.norm(graph.op("Add", [data, attended], f"{name}.residual1"), f"{name}.norm1")
    wide = _gelu(graph, graph.linear(data, f"{name}.up", HIDDEN, FEED_FORWARD), f"{name}.gelu")
    narrow = graph.linear(wide, f"{name}.down", FEED_FORWARD, HIDDEN)
    return graph.norm(graph.op("Add", [data, narrow], f"{name}.residual2"), f"{name}.norm2")


def _attention(graph: _Graph, data: str, bias: str, name: str) -> str:
    split = graph.constant("heads", np.array([0, 0, HEADS, HIDDEN // HEADS], np.int64))
    merge = graph.constant("merged", np.array([0, 0, HIDDEN], np.int64))
    orders = {"query": [0, 2, 1, 3], "key": [0, 2, 3, 1], "value": [0, 2, 1, 3]}
    parts = {}
    for part, order in orders.items():
        heads = graph.op(
            "Reshape", [graph.linear(data, f"{name}.{part}", HIDDEN, HIDDEN), split], f"{name}.{part}.heads"
        )
        parts[part] = graph.op("Transpose", [heads], f"{name}.{part}.turned", perm=order)
    scores = graph.op("MatMul", [parts["query"], parts["key"]], f"{name}.scores")
    scale = graph.constant("scale", (HIDDEN // HEADS) ** 0.5)
    scores = graph.op("Add", [graph.op("Div", [scores, scale], f"{name}.scaled"), bias], f"{name}.masked")
    mixed = graph.op("MatMul", [graph.op("Softmax", [scores], f"{name}.softmax", axis=-1), parts["value"]], name)
    turned = graph.op("Transpose", [mixed], f"{name}.turned", perm=[0, 2, 1, 3])
    return graph.op("Reshape", [turned, merge], f"{name}.merged")


def _gelu(graph: _Graph, data: str, name: str) -> str:
    """x * (1 + erf(x / sqrt 2)) / 2, spelled out as exporters do."""
    root, one, half = (graph.constant(key, value) for key, value in (("root2", 2**0.5), ("one", 1.0), ("half", 0.5)))
    curve = graph.op("Erf", [graph.op("Div", [data, root], f"{name}.div")], f"{name}.erf")
    product = graph.op("Mul", [data, graph.op("Add", [curve, one], f"{name}.add")], f"{name}.mul")
    return graph.op("Mul", [product, half], name)


@dataclass(frozen=True)
class Network:
    """A network to build: how it is made, the shapes of its profile as ``--shape`` takes them, and sample inputs."""

    name: str
    save: Callable[[Path, int], None]
    shapes: tuple[str, ...]
    samples: Callable[[int, int], dict[str, NDArray[Any]]]


def _images(count: int, seed: int) -> dict[str, NDArray[Any]]:
    return {"input": np.random.default_rng(seed).standard_normal((count, 3, 224, 224), dtype=np.float32)}


def _sentences(count: int, seed: int) -> dict[str, NDArray[Any]]:
    """Token ids [count, 128]; the second half of each is the second sentence, the last quarter of some is padding."""
    ids = np.random.default_rng(seed).integers(0, VOCABULARY, (count, 128), dtype=np.int64)
    kinds, mask = np.zeros_like(ids), np.ones_like(ids)
    kinds[:, 64:] = 1
    mask[::3, 96:] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": kinds}


_SEQUENCES = tuple(f"{name}=1x16:8x128:32x384" for name in ("input_ids", "attention_mask", "token_type_ids"))
NETWORKS = {
    network.name: network
    for network in (
        Network("resnet50", save_resnet50, ("input=1x3x224x224:8x3x224x224:32x3x224x224",), _images),
        Network("bert_base", save_bert_base, _SEQUENCES, _sentences),
    )
}
