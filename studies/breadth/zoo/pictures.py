"""Small nets on images and volumes: encoders and decoders, generators, detectors, odd layers."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import Tensor, nn


def block(
    inside: int, out: int, kernel: int = 3, stride: int = 1, act: Callable[[], nn.Module] = nn.ReLU
) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out), act())


class UNet(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.down = nn.ModuleList(block(i, o) for i, o in ((3, 12), (12, 24), (24, 48)))
        self.deep = block(48, 96)
        widths = ((96, 48), (48, 24), (24, 12))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(i, o, 2, 2) if how == "transposed" else block(i, o, 1) for i, o in widths
        )
        self.joined = nn.ModuleList(block(2 * o, o) for _, o in widths)
        self.head = nn.Conv2d(12, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        kept = []
        for layer in self.down:
            image = layer(image)
            kept.append(image)
            image = F.max_pool2d(image, 2)
        image = self.deep(image)
        for up, joined, other in zip(self.up, self.joined, reversed(kept), strict=True):
            if self.how == "bilinear":
                image = F.interpolate(image, scale_factor=2.0, mode="bilinear", align_corners=False)
            elif self.how == "nearest":
                image = F.interpolate(image, scale_factor=2.0)
            image = joined(torch.cat([up(image), other], 1))
        found: Tensor = self.head(image)
        return found


class Volume(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.InstanceNorm3d(8, affine=True), nn.LeakyReLU(0.01))
        self.b = nn.Sequential(nn.Conv3d(8, 16, 3, 2, 1), nn.InstanceNorm3d(16, affine=True), nn.LeakyReLU(0.01))
        self.up, self.head = nn.ConvTranspose3d(16, 8, 2, 2), nn.Conv3d(16, 3, 1)

    def forward(self, volume: Tensor) -> Tensor:
        a = self.a(volume)
        found: Tensor = self.head(torch.cat([self.up(self.b(a)), a], 1))
        return found


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        widths = ((32, 48, 4, 1, 0), (48, 24, 4, 2, 1), (24, 12, 4, 2, 1))
        layers = [
            m for i, o, k, s, p in widths for m in (nn.ConvTranspose2d(i, o, k, s, p), nn.BatchNorm2d(o), nn.ReLU())
        ]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(12, 3, 4, 2, 1), nn.Tanh())

    def forward(self, latent: Tensor) -> Tensor:
        found: Tensor = self.layers(latent)
        return found


class AutoEncoder(nn.Module):
    """Three outputs: the picture, the mean and the logarithm of the variance."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            nn.Conv2d(3, 12, 3, 2, 1), nn.ELU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ELU(), nn.Flatten()
        )
        self.mean, self.spread, self.widen = nn.Linear(24 * 64, 16), nn.Linear(24 * 64, 16), nn.Linear(16, 24 * 64)
        self.decode = nn.Sequential(
            nn.Unflatten(1, (24, 8, 8)),
            nn.ConvTranspose2d(24, 12, 3, 2, 1, 1),
            nn.ELU(),
            nn.ConvTranspose2d(12, 3, 3, 2, 1, 1),
            nn.Sigmoid(),
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.encode(image)
        mean = self.mean(hidden)
        return self.decode(self.widen(mean)), mean, self.spread(hidden)


class SuperResolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 24, 3, 1, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(24, 24, 3, 1, 1), nn.PReLU(24), nn.Conv2d(24, 24, 3, 1, 1)) for _ in range(2)
        )
        self.up = nn.Sequential(nn.Conv2d(24, 96, 3, 1, 1), nn.PixelShuffle(2), nn.PReLU(), nn.Conv2d(24, 3, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        hidden = self.first(image)
        new = hidden
        for made in self.blocks:
            new = new + 0.1 * made(new)
        found: Tensor = self.up(new + hidden) + F.interpolate(
            image, scale_factor=2.0, mode="bicubic", align_corners=False
        )
        return found


class Detector(nn.Module):
    """Two scales, boxes as expected distances (a softmax over bins), classes beside them: a YOLO head."""

    def __init__(self, classes: int = 6) -> None:
        super().__init__()
        self.stem = nn.Sequential(block(3, 16, 3, 2, nn.SiLU), block(16, 24, 3, 2, nn.SiLU))
        self.low, self.high = block(24, 32, 3, 2, nn.SiLU), block(32, 48, 3, 2, nn.SiLU)
        self.boxes = nn.ModuleList(nn.Conv2d(width, 4 * 8, 1) for width in (80, 48))
        self.classes = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in (80, 48))
        self.register_buffer("bins", torch.arange(8.0).reshape(1, 8, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        low = self.low(self.stem(image))
        high = F.max_pool2d(self.high(low), 5, 1, 2)
        joined = torch.cat([F.interpolate(high, scale_factor=2.0), low], 1)
        found = []
        for level, boxes, classes, stride in zip((joined, high), self.boxes, self.classes, (8, 16), strict=True):
            batch, _, height, width = level.shape
            bins = boxes(level).reshape(batch, 4, 8, height * width).transpose(1, 2).softmax(1)
            near, far = (bins * self.bins).sum(1).chunk(2, 1)
            rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
            centres = torch.stack([columns, rows]).reshape(1, 2, -1)
            box = torch.cat([centres + (far - near) / 2, near + far], 1) * stride
            found.append(torch.cat([box, classes(level).flatten(2).sigmoid()], 1))
        return torch.cat(found, 2)


class Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 24))
        self.first, self.norm, self.conv = nn.Conv2d(3, 24, 3, 1, 1), nn.GroupNorm(6, 24), nn.Conv2d(24, 24, 3, 1, 1)
        self.joint, self.head = nn.Conv2d(24, 72, 1), nn.Conv2d(24, 3, 3, 1, 1)

    def forward(self, image: Tensor, time: Tensor) -> Tensor:
        angle = time[:, None] * torch.exp(-torch.arange(8) * 0.9)
        hidden = self.first(image) + self.time(torch.cat([angle.sin(), angle.cos()], 1))[:, :, None, None]
        hidden = hidden + self.conv(F.silu(self.norm(hidden)))
        small = F.avg_pool2d(hidden, 4)
        query, key, value = self.joint(small).flatten(2).chunk(3, 1)
        mixed = value @ (query.transpose(1, 2) @ key / 24**0.5).softmax(-1).transpose(1, 2)
        found: Tensor = self.head(hidden + F.interpolate(mixed.reshape(small.shape), scale_factor=4.0))
        return found


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.side = nn.Sequential(
            block(3, 12, 3, 2), block(12, 24, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 12)
        )

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.side(left), self.side(right)
        return F.cosine_similarity(a, b), (a - b).pow(2).sum(1)


class Capsule(nn.Module):
    """Routing by agreement: softmax over outputs, products of activations, squashing."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 5, 4)
        self.votes = nn.Parameter(torch.randn(1, 4 * 49, 5, 6, 8) * 0.2)

    def forward(self, image: Tensor) -> Tensor:
        given = self.first(image).reshape(image.shape[0], 4 * 49, 1, 8, 1)
        votes = (self.votes @ given).squeeze(-1)
        logits = torch.zeros_like(votes[..., :1])
        out = votes.sum(1, keepdim=True)
        for _ in range(2):
            out = (logits.softmax(2) * votes).sum(1, keepdim=True)
            square = out.pow(2).sum(-1, keepdim=True)
            out = out * square / (1 + square) / torch.sqrt(square + 1e-8)
            logits = logits + (votes * out).sum(-1, keepdim=True)
        return torch.linalg.vector_norm(out.squeeze(1), dim=-1)


class ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 12, 3, 2, 1), nn.Conv2d(12, 24, 3, 2, 1), nn.Linear(24, 7)

    def forward(self, image: Tensor) -> Tensor:
        image = self.a(image.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).relu()
        image = self.b(image.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).relu()
        found: Tensor = self.head(image.mean((1, 2)))
        return found


class Warped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.offset, self.conv, self.head = nn.Conv2d(3, 2, 3, 1, 1), nn.Conv2d(3, 12, 3, 1, 1), nn.Conv2d(12, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        moved = torch.tanh(self.offset(image)).permute(0, 2, 3, 1) * 0.1
        rows, columns = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
        grid = torch.stack((columns, rows), -1)[None] + moved
        found: Tensor = self.head(F.relu(self.conv(F.grid_sample(image, grid, align_corners=False))))
        return found


class OddPools(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 12, 5, 2, padding=(1, 2), padding_mode="reflect")
        self.b, self.c = nn.Conv2d(12, 16, (1, 5), padding=(0, 2)), nn.Conv2d(16, 16, 3, dilation=2, groups=4)
        self.head = nn.Linear(16, 6)

    def forward(self, image: Tensor) -> Tensor:
        x = F.mish(self.a(image))
        x = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) + F.max_pool2d(x, 3, 1, 1)
        x = F.lp_pool2d(F.softplus(self.b(x)), 2, 2, ceil_mode=True)
        found: Tensor = self.head(F.adaptive_max_pool2d(F.selu(self.c(x)), 1).flatten(1))
        return found


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU(), nn.Flatten()),
            nn.Linear(24 * 64, 10),
        )

    def forward(self, image: Tensor) -> Tensor:
        found: Tensor = self.layers(image)
        return found


class Bytes(nn.Module):
    """Pixels as they come from a file; the answer is a class."""

    def __init__(self) -> None:
        super().__init__()
        self.rest = Plain()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.rest((image.float() / 255 - 0.45) / 0.22)
        return scores, scores.argmax(1)
