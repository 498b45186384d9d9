"""What an architecture is: a module, inputs of the kind it is made for, and how it is exported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

SAMPLES = 12
"""Of each architecture's inputs: the first eight calibrate, the others are held back."""


@dataclass(frozen=True)
class Architecture:
    """``make`` gives the module, ``inputs`` its inputs by name, ``SAMPLES`` along the first axis.

    ``dynamo`` chooses torch's newer exporter, else TorchScript's: they write different graphs for the same module.
    ``varying`` are further axes that are exported dynamic, by input. ``settle`` False leaves the weights alone.
    """

    name: str
    kind: str
    make: Callable[[], nn.Module]
    inputs: Callable[[], dict[str, Tensor]]
    dynamo: bool = False
    opset: int = 17
    varying: dict[str, dict[int, str]] = field(default_factory=dict)
    batched: bool = True
    settle: bool = True


def images(size: int, channels: int = 3, seed: int = 0) -> Callable[[], dict[str, Tensor]]:
    """Smooth fields at several scales, normalized: structure as photographs have it, not white noise."""
    return lambda: {"image": field_of((SAMPLES, channels, size, size), seed)}


def field_of(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Noise at several scales over the last one or two axes, of mean 0 and deviation 1."""
    made = torch.Generator().manual_seed(seed)
    flat = (shape[0], shape[1] if len(shape) == 4 else 1, *shape[-2:])
    total = torch.zeros(flat)
    for cells, weight in ((3, 1.0), (7, 0.7), (17, 0.4), (40, 0.2)):
        coarse = torch.randn(*flat[:2], cells, cells, generator=made)
        total += weight * nn.functional.interpolate(coarse, size=flat[-2:], mode="bilinear", align_corners=False)
    total += 0.1 * torch.randn(flat, generator=made)
    return ((total - total.mean()) / total.std()).reshape(shape)


def tokens(length: int = 32, words: int = 500, *, mask: bool = True, pad: int = 0) -> Callable[[], dict[str, Tensor]]:
    """Ids as texts have them: few words often, many seldom, padded to one length."""

    def make() -> dict[str, Tensor]:
        made = torch.Generator().manual_seed(7)
        rank = torch.arange(1, words - 9, dtype=torch.float64)
        ids = torch.multinomial(rank**-1.1, SAMPLES * length, replacement=True, generator=made) + 10
        ids = ids.reshape(SAMPLES, length)
        lengths = torch.randint(length // 2, length + 1, (SAMPLES, 1), generator=made)
        real = torch.arange(length)[None] < lengths
        found = {"input_ids": torch.where(real, ids, pad)}
        return found | ({"attention_mask": real.long()} if mask else {})

    return make


def waves(length: int, channels: int = 0) -> Callable[[], dict[str, Tensor]]:
    """Sums of sines with noise, of deviation 1: [samples, length] or [samples, channels, length]."""

    def make() -> dict[str, Tensor]:
        made = torch.Generator().manual_seed(3)
        shape = (SAMPLES, max(channels, 1), 1)
        time = torch.arange(length) / 16000
        total = 0.05 * torch.randn(SAMPLES, max(channels, 1), length, generator=made)
        for _ in range(5):
            pitch = 80 + 1500 * torch.rand(shape, generator=made)
            total += torch.rand(shape, generator=made) * torch.sin(2 * torch.pi * pitch * time)
        total = total / total.std()
        return {"wave": total if channels else total[:, 0]}

    return make


def rows(steps: int, width: int, seed: int = 5) -> Callable[[], dict[str, Tensor]]:
    """A sequence of feature vectors that change smoothly: [samples, steps, width]."""
    return lambda: {"rows": field_of((SAMPLES, steps, width), seed)}
