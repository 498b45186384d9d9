"""The kernels an engine would run: what each computes, and what it must read and write."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Product:
    """One matrix product of one sample: ``groups`` times [``rows``, ``reduction``] x [``reduction``, ``columns``].

    A convolution is the product of its implicit GEMM. ``unit`` is ``tensor`` (tensor cores) or ``vector`` (CUDA cores:
    depthwise convolutions, which have no reduction over channels). ``channels`` is the part of ``reduction`` that
    tensor cores pad. ``sparse``: its weight is 2:4, and taken to run on sparse tensor cores where there are any."""

    node: str
    dtype: str
    unit: str
    macs: int
    rows: int
    columns: int
    channels: int
    groups: int = 1
    sparse: bool = False


@dataclass(frozen=True)
class Kernel:
    """A fused kernel. ``activation_bytes`` are read and written per sample, ``weight_bytes`` read once per batch.

    ``nodes`` are the ONNX nodes inside, the product or the first one being its ``name``. ``known`` is False where a
    shape depends on the data, and what is counted is a lower bound."""

    name: str
    kind: str
    nodes: tuple[str, ...]
    products: tuple[Product, ...]
    weight_bytes: int
    activation_bytes: int
    known: bool = True

    @property
    def macs(self) -> int:
        return sum(product.macs for product in self.products)

    @property
    def dtype(self) -> str:
        """Of its products; empty for a kernel that only moves data."""
        return self.products[0].dtype if self.products else ""
