"""Fine-tune the demo model with quantization in the loop, and export it as NVIDIA's quantization toolkits do.

Not part of the installed package: it needs PyTorch and the Fashion-MNIST files (Debian: ``dataset-fashion-mnist``).

    python -m studies.quantized_models.train_qat /usr/share/datasets/fashion-mnist FOLDER

writes ``qat.onnx``: INT8 symmetric, one scale per activation, one per output channel of a weight, weights in float
before their Q/DQ, Q/DQ on the skip branch of every residual sum (the "residual quantizer" of pytorch-quantization).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import torch
from torch import nn
from torch.nn import functional

from studies.demo_model.train import accuracy, augment, descend, export, normalise, read_split, tensors

MODEL = Path(__file__).parents[2] / "optimizer" / "demo" / "fashion_resnet.onnx"
"""By its path: the environment with PyTorch need not have what the product needs."""
WARM_UP = 20
"""Batches on which activations are observed before scales are fixed."""


class Quantizer(nn.Module):
    """Fake quantization of an activation to int8 codes around 0; its largest magnitude is observed, then fixed."""

    amax: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("amax", torch.zeros(()))
        self.observing = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.observing:
            self.amax = torch.maximum(self.amax, torch.quantile(x.detach().abs().flatten()[:1_000_000], 0.9999))
            return x
        return torch.fake_quantize_per_tensor_affine(x, float(self.amax) / 127, 0, -128, 127)


class QuantConv(nn.Module):
    """A convolution (or, without ``stride``, a linear layer) whose data and weight are quantized."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray, stride: int = 0) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.tensor(weight)), nn.Parameter(torch.tensor(bias))
        self.stride, self.quantizer = stride, Quantizer()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        axes = tuple(range(1, self.weight.dim()))
        scale = self.weight.detach().abs().amax(axes).clamp_min(1e-8) / 127
        zero = torch.zeros(len(scale), dtype=torch.int32)
        weight = torch.fake_quantize_per_channel_affine(self.weight, scale, zero, 0, -128, 127)
        x = self.quantizer(x)
        if not self.stride:
            return functional.linear(x, weight, self.bias)
        return functional.conv2d(x, weight, self.bias, self.stride, weight.shape[-1] // 2)


class QuantBlock(nn.Module):
    """Two convolutions and a residual sum whose skip branch is quantized."""

    def __init__(self, first: QuantConv, second: QuantConv, projection: QuantConv | None) -> None:
        super().__init__()
        self.first, self.second, self.projection, self.skip = first, second, projection, Quantizer()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(functional.relu(self.first(x)))
        return functional.relu(y + self.skip(x if self.projection is None else self.projection(x)))


class QuantNet(nn.Module):
    """The demo's ResNet-14 with batch norms folded, from the weights of its ONNX file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        graph = onnx.load(path).graph
        tensors = {item.name: onnx.numpy_helper.to_array(item).copy() for item in graph.initializer}
        nodes = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
        layers = [QuantConv(tensors[node.input[1]], tensors[node.input[2]], _stride(node)) for node in nodes]
        self.stem, self.head, rest = layers[0], layers[-1], layers[1:-1]
        blocks = []
        while rest:
            projected = len(rest) > 2 and rest[2].weight.shape[-1] == 1
            blocks.append(QuantBlock(rest[0], rest[1], rest[2] if projected else None))
            rest = rest[3 if projected else 2 :]
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(functional.relu(self.stem(x)), 2)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


def _stride(node: onnx.NodeProto) -> int:
    found = next((a.ints[0] for a in node.attribute if a.name == "strides"), 1)
    return 0 if node.op_type == "Gemm" else int(found)


def train(folder: Path, out: Path, steps: int, batch: int, threads: int) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    images, labels = tensors(*read_split(folder, "train"))
    test = tensors(*read_split(folder, "t10k"))
    net = QuantNet(MODEL)
    print(f"test top-1 in float {accuracy(net, *test):.4f}", flush=True)
    order = torch.randperm(len(images))
    with torch.no_grad():
        for step in range(WARM_UP):
            net(normalise(images[order[step * batch : (step + 1) * batch]]))
    for module in net.modules():
        if isinstance(module, Quantizer):
            module.observing = False
    print(f"test top-1 quantized, not trained {accuracy(net, *test):.4f}", flush=True)
    optimizer = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    net.train()
    for _ in range(steps):
        index = torch.randint(len(images), (batch,))
        descend(net, optimizer, schedule, augment(normalise(images[index])), labels[index])
    print(f"test top-1 after {steps} steps {accuracy(net, *test):.4f}", flush=True)
    export(net, out / "qat.onnx")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="folder with the four Fashion-MNIST .gz files")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    train(options.dataset, options.out, options.steps, options.batch, options.threads)
