"""ResNet-50 v1.5, SSD-ResNet34 (1200 x 1200) and SSD-MobileNet-v1 (300 x 300) as MLCommons' inference suite has them.

Sources: mlcommons/inference ``vision/classification_and_detection`` (models and input sizes); He et al., "Deep Residual
Learning" (the stride of a bottleneck moved to its 3 x 3 for v1.5); Liu et al., "SSD"; Howard et al., "MobileNets".
BatchNorm is folded into weights and bias, as every engine does. Non-maximum suppression is not in these graphs: on
NVIDIA's systems a plugin of a few kernels does it."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from studies.builds.networks import RESNET50_FEATURES, resnet50_blocks
from studies.roofline.models.graph import GraphWriter


def resnet50(precision: str) -> ir.Model:
    """Input ``input`` [N, 3, 224, 224], output ``logits`` [N, 1001]; 25.6 M weights, 4.1 G MACs."""
    graph = GraphWriter("resnet50", precision)
    data = _conv(graph, graph.input("input", (3, 224, 224)), "conv1", 3, 64, kernel=7, stride=2)
    data = _max_pool(graph, data, "pool1", kernel=3, stride=2, pads=1)
    for stage, block, channels, width, stride in resnet50_blocks():
        data = _bottleneck(graph, data, f"stage{stage}.{block}", channels, width, stride)
    pooled = graph.op("GlobalAveragePool", [graph.quantized(data)], "average")
    flat = graph.op("Flatten", [pooled], "flat")
    return graph.model([_dense(graph, flat, "logits", RESNET50_FEATURES, 1001)])


def ssd_resnet34(precision: str) -> ir.Model:
    """Input ``image`` [N, 3, 1200, 1200]; outputs boxes and scores of 15,130 anchors, 81 classes; 216 G MACs.

    The backbone ends after ResNet-34's third stage, which keeps stride 1: its 150 x 150 map is the first feature. Heads
    have stride 3, which makes the maps 50, 25, 13, 7, 3 and 3 wide.
    """
    graph = GraphWriter("ssd_resnet34", precision)
    data = _conv(graph, graph.input("image", (3, 1200, 1200)), "conv1", 3, 64, kernel=7, stride=2)
    data = _max_pool(graph, data, "pool1", kernel=3, stride=2, pads=1)
    channels = 64
    for stage, (blocks, width, stride) in enumerate(((3, 64, 1), (4, 128, 2), (6, 256, 1)), start=1):
        for block in range(blocks):
            data = _basic_block(graph, data, f"stage{stage}.{block}", channels, width, stride if block == 0 else 1)
            channels = width
    features = [(data, channels)]
    for index, (middle, width, stride, pads) in enumerate(
        ((256, 512, 2, 1), (256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 2, 0), (128, 256, 1, 0)), start=1
    ):
        narrow = _conv(graph, features[-1][0], f"extra{index}.0", features[-1][1], middle)
        wide = _conv(graph, narrow, f"extra{index}.1", middle, width, kernel=3, stride=stride, pads=pads)
        features.append((wide, width))
    found = [
        _head(graph, feature, f"head{index}", width, anchors, 81, kernel=3, stride=3)
        for index, ((feature, width), anchors) in enumerate(zip(features, (4, 6, 6, 6, 4, 4), strict=True))
    ]
    return _detections(graph, found, "Softmax")


def ssd_mobilenet(precision: str) -> ir.Model:
    """Input ``image`` [N, 3, 300, 300]; outputs boxes and scores of 1,917 anchors, 91 classes; 1.2 G MACs."""
    graph = GraphWriter("ssd_mobilenet", precision)
    data = _conv(graph, graph.input("image", (3, 300, 300)), "conv0", 3, 32, kernel=3, stride=2)
    channels = 32
    features: list[tuple[ir.Value, int]] = []
    plan = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
    for index, (width, stride) in enumerate(plan, start=1):
        name = f"block{index}"
        data = _conv(graph, data, f"{name}.depthwise", channels, channels, kernel=3, stride=stride, group=channels)
        data = _conv(graph, data, f"{name}.pointwise", channels, width)
        channels = width
        if index in (11, 13):
            features.append((data, channels))
    for index, (middle, width) in enumerate(((256, 512), (128, 256), (128, 256), (64, 128)), start=1):
        narrow = _conv(graph, features[-1][0], f"extra{index}.0", features[-1][1], middle)
        features.append((_conv(graph, narrow, f"extra{index}.1", middle, width, kernel=3, stride=2), width))
    found = [
        _head(graph, feature, f"head{index}", width, anchors, 91)
        for index, ((feature, width), anchors) in enumerate(zip(features, (3, 6, 6, 6, 6, 6), strict=True))
    ]
    return _detections(graph, found, "Sigmoid")


def _conv(
    graph: GraphWriter,
    data: ir.Value,
    name: str,
    inputs: int,
    outputs: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    group: int = 1,
    pads: int | None = None,
    relu: bool = True,
) -> ir.Value:
    weight = graph.weight(f"{name}.weight", (outputs, inputs // group, kernel, kernel), axis=0)
    value = graph.op(
        "Conv",
        [graph.quantized(data), weight, graph.floats(f"{name}.bias", (outputs,))],
        name,
        kernel_shape=[kernel] * 2,
        strides=[stride] * 2,
        pads=[kernel // 2 if pads is None else pads] * 4,
        group=group,
    )
    return graph.op("Relu", [value], f"{name}.relu") if relu else value


def _max_pool(graph: GraphWriter, data: ir.Value, name: str, *, kernel: int, stride: int, pads: int) -> ir.Value:
    shape = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pads] * 4}
    return graph.op("MaxPool", [graph.quantized(data)], name, **shape)


def _bottleneck(graph: GraphWriter, data: ir.Value, name: str, inputs: int, width: int, stride: int) -> ir.Value:
    inner = _conv(graph, data, f"{name}.a", inputs, width)
    inner = _conv(graph, inner, f"{name}.b", width, width, kernel=3, stride=stride)
    inner = _conv(graph, inner, f"{name}.c", width, 4 * width, relu=False)
    return _joined(graph, data, inner, name, inputs, 4 * width, stride)


def _basic_block(graph: GraphWriter, data: ir.Value, name: str, inputs: int, width: int, stride: int) -> ir.Value:
    inner = _conv(graph, data, f"{name}.a", inputs, width, kernel=3, stride=stride)
    inner = _conv(graph, inner, f"{name}.b", width, width, kernel=3, relu=False)
    return _joined(graph, data, inner, name, inputs, width, stride)


def _joined(
    graph: GraphWriter, data: ir.Value, inner: ir.Value, name: str, inputs: int, outputs: int, stride: int
) -> ir.Value:
    if inputs != outputs or stride != 1:
        data = _conv(graph, data, f"{name}.short", inputs, outputs, stride=stride, relu=False)
    return graph.op("Relu", [graph.op("Add", [inner, graph.quantized(data)], f"{name}.add")], f"{name}.relu")


def _dense(graph: GraphWriter, data: ir.Value, name: str, inputs: int, outputs: int) -> ir.Value:
    weight = graph.weight(f"{name}.weight", (outputs, inputs), axis=0)
    return graph.op("Gemm", [graph.quantized(data), weight, graph.floats(f"{name}.bias", (outputs,))], name, transB=1)


def _head(
    graph: GraphWriter,
    feature: ir.Value,
    name: str,
    inputs: int,
    anchors: int,
    classes: int,
    *,
    kernel: int = 1,
    stride: int = 1,
) -> tuple[ir.Value, ir.Value]:
    """Boxes [N, 4, anchors x cells] and scores [N, classes, anchors x cells] of one feature map."""
    sides = []
    for part, width in (("boxes", 4), ("scores", classes)):
        value = _conv(
            graph, feature, f"{name}.{part}", inputs, anchors * width, kernel=kernel, stride=stride, relu=False
        )
        shape = graph.integers(f"{part}.shape", [0, width, -1])
        sides.append(graph.op("Reshape", [value, shape], f"{name}.{part}.flat"))
    return sides[0], sides[1]


def _detections(graph: GraphWriter, heads: Sequence[tuple[ir.Value, ir.Value]], activation: str) -> ir.Model:
    boxes = graph.op("Concat", [head[0] for head in heads], "boxes", axis=2)
    scores = graph.op("Concat", [head[1] for head in heads], "raw_scores", axis=2)
    attributes = {"axis": 1} if activation == "Softmax" else {}
    return graph.model([boxes, graph.op(activation, [scores], "scores", **attributes)])
