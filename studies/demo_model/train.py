"""Train the demo model and pack its labelled test images.

Not part of the installed package: it needs PyTorch and the Fashion-MNIST files (Debian: ``dataset-fashion-mnist``).

    python studies/demo_model/train.py /usr/share/datasets/fashion-mnist optimizer/demo

writes ``fashion_resnet.onnx`` (FP32, dynamic batch, opset 17), ``fashion_calibration.npz`` (images drawn from the
training set) and ``fashion_test.npz`` (the 10,000 test images as uint8 with their labels).
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

MEAN, STD = 0.2860, 0.3530  # of the training pixels, after division by 255


def read_idx(folder: Path, stem: str, header: int) -> np.ndarray:
    """The payload of a gzipped IDX file as uint8, shape (elements,)."""
    return np.frombuffer(gzip.open(folder / f"{stem}.gz").read(), np.uint8, offset=header)


def read_split(folder: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 28, 28) uint8 and labels (N,) uint8 of ``train`` or ``t10k``."""
    images = read_idx(folder, f"{prefix}-images-idx3-ubyte", 16).reshape(-1, 28, 28)
    return images, read_idx(folder, f"{prefix}-labels-idx1-ubyte", 8)


def tensors(images: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """A split as a network takes it: images (N, 1, 28, 28) uint8, labels (N,) int64."""
    return torch.tensor(images.copy())[:, None], torch.tensor(labels.copy()).long()


class Block(nn.Module):
    """Two 3x3 convolutions with a residual add; a 1x1 projection where the shape changes. With ``spare`` one is drawn
    elsewhere, too, and not used: the random numbers of what follows depend on it.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, spare: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        same = channels_in == channels_out and stride == 1
        convolution = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False) if spare or not same else None
        self.skip = nn.Identity() if same else nn.Sequential(convolution, nn.BatchNorm2d(channels_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.skip(x))


def network(*, spare: bool) -> nn.Sequential:
    """ResNet-14 for 28x28 grey images, 0.69 M parameters; channels are multiples of 16 so that 2:4 sparsity applies.
    The demo's weights were drawn with ``spare`` ones (``Block``), those of ``studies.baselines`` without.
    """
    shapes = ((32, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1))
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, 1, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        *(Block(*shape, spare=spare) for shape in shapes),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def normalise(images: torch.Tensor) -> torch.Tensor:
    return (images.float() / 255 - MEAN) / STD


def augment(images: torch.Tensor) -> torch.Tensor:
    """Mirror half of the batch, drawn per image."""
    mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
    return torch.where(mirrored, images.flip(3), images)


def descend(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    images: torch.Tensor,
    labels: torch.Tensor,
) -> None:
    """One step on one batch."""
    loss = functional.cross_entropy(net(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()


def epochs(
    net: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    count: int,
    batch: int,
    augment: Callable[[torch.Tensor], torch.Tensor],
) -> Iterator[int]:
    """Train ``net`` on ``images`` (N, 1, 28, 28) uint8; each epoch's number, from one, once it is over."""
    steps = len(images) // batch
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=count * steps)
    for epoch in range(count):
        net.train()
        for index in torch.randperm(len(images))[: steps * batch].view(steps, batch):
            descend(net, optimizer, schedule, augment(normalise(images[index])), labels[index])
        yield epoch + 1


def accuracy(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    net.eval()
    with torch.no_grad():
        right = sum(
            int((net(normalise(images[i : i + 500])).argmax(1) == labels[i : i + 500]).sum().item())
            for i in range(0, len(images), 500)
        )
    return right / len(images)


def train(folder: Path, out: Path, count: int, batch: int, threads: int) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    pixels, classes = read_split(folder, "train")
    test_pixels, test_classes = read_split(folder, "t10k")
    test = tensors(test_pixels, test_classes)
    net = network(spare=True).to(memory_format=torch.channels_last)
    for epoch in epochs(net, *tensors(pixels, classes), count, batch, augment):
        print(f"epoch {epoch}/{count}: test top-1 {accuracy(net, *test):.4f}", flush=True)
    export(net, out / "fashion_resnet.onnx")
    pick = np.random.default_rng(0).choice(len(pixels), 512, replace=False)
    np.savez_compressed(out / "fashion_calibration.npz", images=pixels[pick])
    np.savez_compressed(out / "fashion_test.npz", images=test_pixels, labels=test_classes)


def export(net: nn.Module, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        net.eval(),
        (torch.zeros(1, 1, 28, 28),),
        str(path),
        input_names=["input"],
        output_names=["logits"],
        opset_version=17,
        dynamo=False,
        dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}},
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="folder with the four Fashion-MNIST .gz files")
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    train(options.dataset, options.out, options.epochs, options.batch, options.threads)
