"""Enums and plain classes, named and valued as the real Python bindings have them."""

from __future__ import annotations

from enum import Enum

from stand_in_names import NEWEST, enums_of


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


_of_11 = enums_of(NEWEST)
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
