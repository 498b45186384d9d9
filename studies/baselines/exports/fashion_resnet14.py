"""A residual network trained here on Fashion-MNIST (four epochs, seeded, a few minutes on two cores)."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

MEAN, STD = 0.2860, 0.3530
EPOCHS, BATCH = 4, 128


class Block(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.first = _conv(channels_in, channels_out, 3, stride)
        self.second = _conv(channels_out, channels_out, 3, 1)
        same = channels_in == channels_out and stride == 1
        self.shortcut = nn.Identity() if same else _conv(channels_in, channels_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.second(functional.relu(self.first(x))) + self.shortcut(x))


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out))


def network() -> nn.Sequential:
    return nn.Sequential(
        _conv(1, 32, 3, 1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        *(
            Block(32, 32, 1),
            Block(32, 32, 1),
            Block(32, 64, 2),
            Block(64, 64, 1),
            Block(64, 128, 2),
            Block(128, 128, 1),
        ),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def export(folder: Path, out: Path) -> None:
    """``folder`` holds Fashion-MNIST's four files."""
    torch.manual_seed(0)
    model = _trained(_read(folder / "train-images-idx3-ubyte.gz", 16), _read(folder / "train-labels-idx1-ubyte.gz", 8))
    torch.onnx.export(
        model.eval(),
        (torch.zeros(1, 1, 28, 28),),
        str(out),
        input_names=["input"],
        output_names=["logits"],
        opset_version=17,
        dynamo=False,
        dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}},
    )


def _trained(pixels: Tensor, labels: Tensor) -> nn.Module:
    images = (pixels.view(-1, 1, 28, 28).float() / 255 - MEAN) / STD
    model = network().to(memory_format=torch.channels_last)
    steps = len(images) // BATCH
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=EPOCHS * steps)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(images))[: steps * BATCH].view(steps, BATCH):
            batch = images[chosen]
            if torch.rand(1) < 0.5:
                batch = batch.flip(3)
            optimizer.zero_grad()
            functional.cross_entropy(model(batch), labels[chosen].long()).backward()
            optimizer.step()
            schedule.step()
    return model


def _read(path: Path, header: int) -> Tensor:
    return torch.from_numpy(np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header).copy())
