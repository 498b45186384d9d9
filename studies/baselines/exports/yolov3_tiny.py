"""YOLOv3-tiny from darknet's weights to ONNX: boxes decoded, no suppression."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

ANCHORS = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))  # yolov3-tiny.cfg


class Weights:
    """darknet's file read in order: a header of three int32 and a counter, then float32 values."""

    def __init__(self, path: Path) -> None:
        self._values = np.fromfile(path, np.float32)
        major, minor, _ = np.fromfile(path, np.int32, 3)
        self._next = 5 if major * 10 + minor >= 2 else 4

    def take(self, count: int) -> Tensor:
        found = self._values[self._next : self._next + count]
        if len(found) != count:
            raise ValueError("the weights file is shorter than YOLOv3-tiny's")
        self._next += count
        return torch.from_numpy(found.copy())

    def conv(self, channels_in: int, channels_out: int, kernel: int, normalized: bool = True) -> nn.Sequential:
        """A convolution with its batch norm folded in and LeakyReLU behind it, or a plain one with a bias."""
        conv = nn.Conv2d(channels_in, channels_out, kernel, 1, kernel // 2)
        shape = (channels_out, channels_in, kernel, kernel)
        if not normalized:
            conv.bias.data = self.take(channels_out)
            conv.weight.data = self.take(int(np.prod(shape))).view(shape)
            return nn.Sequential(conv)
        beta, gamma, mean, variance = (self.take(channels_out) for _ in range(4))
        scale = gamma / torch.sqrt(variance + 1e-6)
        conv.weight.data = self.take(int(np.prod(shape))).view(shape) * scale[:, None, None, None]
        conv.bias.data = beta - mean * scale
        return nn.Sequential(conv, nn.LeakyReLU(0.1))


class YoloV3Tiny(nn.Module):
    def __init__(self, weights: Weights) -> None:
        super().__init__()
        widths = (3, 16, 32, 64, 128, 256)
        self.down = nn.ModuleList(weights.conv(a, b, 3) for a, b in pairwise(widths))
        self.wide = nn.ModuleList([weights.conv(256, 512, 3), weights.conv(512, 1024, 3)])
        self.neck = weights.conv(1024, 256, 1)
        self.coarse = nn.Sequential(weights.conv(256, 512, 3), weights.conv(512, 255, 1, normalized=False))
        self.lateral = weights.conv(256, 128, 1)
        self.fine = nn.Sequential(weights.conv(384, 256, 3), weights.conv(256, 255, 1, normalized=False))

    def forward(self, x: Tensor) -> Tensor:
        """images [N, 3, 416, 416] in 0..1 to [N, 2535, 85]: centre, size in pixels, objectness, 80 classes."""
        skip = x
        for layer in self.down:
            skip = layer(x)
            x = functional.max_pool2d(skip, 2, 2)
        x = self.wide[0](x)
        x = functional.max_pool2d(functional.pad(x, (0, 1, 0, 1), value=-1e4), 2, 1)
        x = self.neck(self.wide[1](x))
        up = functional.interpolate(self.lateral(x), scale_factor=2, mode="nearest")
        fine = self.fine(torch.cat([up, skip], 1))
        return torch.cat([_decoded(self.coarse(x), ANCHORS[3:], 32), _decoded(fine, ANCHORS[:3], 16)], 1)


def _decoded(x: Tensor, anchors: tuple[tuple[int, int], ...], stride: int) -> Tensor:
    batch, _, height, width = x.shape
    x = x.view(batch, 3, 85, height, width).permute(0, 1, 3, 4, 2)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    grid = torch.stack([columns, rows], -1).float()[None, None]
    centre = (torch.sigmoid(x[..., :2]) + grid) * stride
    size = torch.exp(x[..., 2:4]) * torch.tensor(anchors).float().view(1, 3, 1, 1, 2)
    return torch.cat([centre, size, torch.sigmoid(x[..., 4:])], -1).reshape(batch, -1, 85)


def export(weights: Path, out: Path) -> None:
    torch.onnx.export(
        YoloV3Tiny(Weights(weights)).eval(),
        (torch.zeros(1, 3, 416, 416),),
        str(out),
        input_names=["images"],
        output_names=["pred"],
        opset_version=17,
        dynamo=False,
        dynamic_axes={"images": {0: "batch"}, "pred": {0: "batch"}},
    )
