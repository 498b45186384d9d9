"""A network as TensorRT 8.5's parser leaves it: layers that know their name, kind and results, and no ONNX node."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from engines.tensorrt.library import Library
from tests.engines.conformance.bindings import BINDINGS, snapshot


class DataType(Enum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3


LayerType = Enum("LayerType", "CONVOLUTION ELEMENTWISE SHUFFLE CONSTANT SHAPE QUANTIZE DEQUANTIZE IDENTITY SOFTMAX")


@dataclass
class Tensor:
    name: str
    dtype: DataType = DataType.FLOAT
    is_network_output: bool = False


@dataclass
class Layer:
    """``ILayer``; ``types`` are what was set, by output."""

    name: str
    type: Any
    outputs: list[Tensor]
    precision: DataType | None = None
    types: dict[int, DataType] = field(default_factory=dict)

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    def get_output(self, index: int) -> Tensor:
        return self.outputs[index]

    def set_output_type(self, index: int, dtype: DataType) -> None:
        self.types[index] = dtype


def layer(name: str, kind: str, *results: str, dtype: str = "FLOAT", network_output: bool = False) -> Layer:
    return Layer(name, LayerType[kind], [Tensor(result, DataType[dtype], network_output) for result in results])


@dataclass
class Network:
    """``INetworkDefinition``, as far as inputs go."""

    inputs: list[Tensor]

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    def get_input(self, index: int) -> Tensor:
        return self.inputs[index]


class Config:
    """``IBuilderConfig``, as far as types and tactics go."""

    def __init__(self) -> None:
        self.flags: set[int] = set()
        self.tactics: int | None = None
        self.previews: dict[int, bool] = {}

    def set_flag(self, flag: int) -> None:
        self.flags.add(flag)

    def set_tactic_sources(self, sources: int) -> None:
        self.tactics = sources

    def set_preview_feature(self, feature: int, on: bool) -> None:
        self.previews[feature] = on


def library_of(version: int = 0) -> Library:
    """A ``Library`` with names and capabilities of the real binding of that place in ``BINDINGS``."""
    real = snapshot(BINDINGS[version])
    module: Any = real.module
    module.DataType = DataType
    return Library(module, "tensorrt", real.version, real.capabilities)
