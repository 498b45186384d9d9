"""Enums and plain classes, named and valued as the real Python bindings have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from pathlib import Path


class ILogger:
    class Severity(Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def __init__(self) -> None: ...

    def log(self, severity: Severity, message: str) -> None:
        raise NotImplementedError


_SNAPSHOTS = Path(__file__).resolve().parents[3] / "engines" / "conformance" / "snapshots"


class _Numbered(Enum):
    """An enum as pybind11 makes them: its members are no integers, and have one."""

    def __int__(self) -> int:
        return int(self.value)


def enums_of(version: str) -> Callable[..., type[Enum]]:
    """Enums by name, with the numbers of the real binding of that version; of some only the members named."""
    said = json.loads((_SNAPSHOTS / f"tensorrt-{version}.json").read_text())["enums"]

    def enum(name: str, *members: str) -> type[Enum]:
        return _Numbered(name, {member: said[name][member] for member in members or said[name]})  # type: ignore

    return enum


_of_11 = enums_of("11.4.0.106")
DataType = _of_11("DataType")
NetworkDefinitionCreationFlag = _of_11("NetworkDefinitionCreationFlag")
BuilderFlag = _of_11("BuilderFlag")
ExecutionContextAllocationStrategy = _of_11("ExecutionContextAllocationStrategy")
# of these, which the stand-in for 8.5 has as well, what both versions have
LayerType = _of_11("LayerType", "CONVOLUTION", "ELEMENTWISE", "QUANTIZE", "DEQUANTIZE")
TensorIOMode = _of_11("TensorIOMode", "NONE", "INPUT", "OUTPUT")
TensorLocation = _of_11("TensorLocation", "DEVICE", "HOST")
TensorFormat = _of_11("TensorFormat", "LINEAR")
ProfilingVerbosity = _of_11("ProfilingVerbosity", "LAYER_NAMES_ONLY", "NONE", "DETAILED")
MemoryPoolType = _of_11("MemoryPoolType", "WORKSPACE")
LayerInformationFormat = _of_11("LayerInformationFormat", "ONELINE", "JSON")


class IProgressMonitor:
    def __init__(self) -> None: ...


class IProfiler:
    def __init__(self) -> None: ...

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        raise NotImplementedError
