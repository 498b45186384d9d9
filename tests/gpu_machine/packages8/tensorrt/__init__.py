"""TensorRT 8.5.3 over the stand-in for 11: what 8.5 lacks is taken away, and what it does otherwise is done its
way."""

from pathlib import Path

__path__.append(str(Path(__file__).parents[2] / "packages" / "tensorrt"))  # names, network, building, running

from tensorrt.names import (
    ILogger,
    IProfiler,
    LayerInformationFormat,
    LayerType,
    MemoryPoolType,
    ProfilingVerbosity,
    TensorFormat,
    TensorIOMode,
    TensorLocation,
)
from tensorrt.network import INetworkDefinition, IOptimizationProfile, ITimingCache, ParserError
from tensorrt.old_building import (
    VERSION,
    Builder,
    BuilderFlag,
    DataType,
    IBuilderConfig,
    ILayer,
    ITensor,
    NetworkDefinitionCreationFlag,
    OnnxParser,
    PreviewFeature,
    TacticSource,
)
from tensorrt.old_running import EngineInspector, ICudaEngine, IExecutionContext, Runtime

__version__ = ".".join(map(str, VERSION))
__all__ = [
    "Builder",
    "BuilderFlag",
    "DataType",
    "EngineInspector",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "ILayer",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IProfiler",
    "ITensor",
    "ITimingCache",
    "LayerInformationFormat",
    "LayerType",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ParserError",
    "PreviewFeature",
    "ProfilingVerbosity",
    "Runtime",
    "TacticSource",
    "TensorFormat",
    "TensorIOMode",
    "TensorLocation",
]
