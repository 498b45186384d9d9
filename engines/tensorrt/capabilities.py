"""What a TensorRT library can do, from 8.5 to 11 and TensorRT-RTX: asked of the module by its names, once.

``NAMES`` is the one list of what differs between versions. A capability holds where the module has every name of its
row; code that uses such a name asks the capability first (``differences.py``, mostly), and a test compares both with
the real bindings of seven versions (``tests/engines/conformance``). No version number is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from engines.targets.target import LibraryName

NAMES: dict[str, tuple[str, ...]] = {
    # what a network is created as
    "strongly_typed_flag": ("NetworkDefinitionCreationFlag.STRONGLY_TYPED",),
    "explicit_batch_flag": ("NetworkDefinitionCreationFlag.EXPLICIT_BATCH",),
    "layer_precisions": (
        "ILayer.precision",
        "ILayer.set_output_type",
        "BuilderFlag.FP16",
        "BuilderFlag.INT8",
        "BuilderFlag.OBEY_PRECISION_CONSTRAINTS",
    ),
    # what its parser reads: the layer that 10.9 made GroupNormalization of opset 21 with
    "opset_21": ("INetworkDefinition.add_normalization_v2",),
    # how it is built
    "external_tactics": (
        "IBuilderConfig.set_tactic_sources",
        "IBuilderConfig.set_preview_feature",
        "TacticSource.EDGE_MASK_CONVOLUTIONS",
        "TacticSource.JIT_CONVOLUTIONS",
        "PreviewFeature.DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805",
    ),
    "profile_sharing_preview": ("IBuilderConfig.set_preview_feature", "PreviewFeature.PROFILE_SHARING_0806"),
    "progress_monitor": ("IProgressMonitor", "IBuilderConfig.progress_monitor"),
    "layer_metadata": ("ILayer.metadata",),
    "parser_names_nodes": ("ParserError.node_name", "ParserError.node_operator"),
    # how plugins get in
    "registry_of_owner": ("Builder.get_plugin_registry", "Runtime.get_plugin_registry"),
    "registry_loads": ("IPluginRegistry.load_library",),
    # how a plan is loaded and run
    "host_code": ("Runtime.engine_host_code_allowed",),
    "sized_activations": ("ICudaEngine.device_memory_size_v2", "IExecutionContext.set_device_memory"),
    "allocation_strategy": ("ExecutionContextAllocationStrategy",),
    "weight_streaming": ("ICudaEngine.streamable_weights_size", "ICudaEngine.weight_streaming_budget_v2"),
    "engine_validity": ("Runtime.get_engine_validity", "EngineInvalidityDiagnostics"),
    "runtime_cache": (
        "IRuntimeCache",
        "IRuntimeConfig.create_runtime_cache",
        "IRuntimeConfig.set_runtime_cache",
        "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
        "DynamicShapesKernelSpecializationStrategy",
    ),
    "cuda_graph_strategy": ("IRuntimeConfig.cuda_graph_strategy", "CudaGraphStrategy"),
    # how a plan gets new weights
    "onnx_refitter": ("OnnxParserRefitter",),
    "serialization_config": (
        "ICudaEngine.create_serialization_config",
        "ICudaEngine.serialize_with_config",
        "SerializationFlag",
    ),
}
"""Capability -> the names that make it: ``CLASS``, ``CLASS.member``, or a function of the module."""


@dataclass(frozen=True)
class Capabilities:
    """What one library offers.

    ``strongly_typed``: a network's types are the graph's own; without it (8.5, 8.6) ``layer_precisions`` state them.
    ``compute_capability_targets`` are the GPUs it builds for ahead of time (``"SM80"``), empty where it builds only
    for the GPU at hand. ``timing_cache`` is False on TensorRT-RTX, whose timing cache calls are no-ops. ``plugins``
    tells whether custom operators can be loaded from libraries. ``shared_profiles``: several contexts may use one
    optimization profile of a dynamic plan, which 8.5 forbids and 8.6 builds on demand
    (``profile_sharing_preview``). The others are the rows of ``NAMES``.
    """

    strongly_typed: bool = True
    compute_capability_targets: tuple[str, ...] = ()
    timing_cache: bool = False
    plugins: bool = False
    shared_profiles: bool = True
    strongly_typed_flag: bool = False
    explicit_batch_flag: bool = False
    layer_precisions: bool = False
    opset_21: bool = True
    external_tactics: bool = False
    profile_sharing_preview: bool = False
    progress_monitor: bool = False
    layer_metadata: bool = True
    parser_names_nodes: bool = True
    registry_of_owner: bool = True
    registry_loads: bool = True
    host_code: bool = True
    sized_activations: bool = True
    allocation_strategy: bool = True
    weight_streaming: bool = True
    engine_validity: bool = False
    runtime_cache: bool = False
    cuda_graph_strategy: bool = False
    onnx_refitter: bool = True
    serialization_config: bool = True


def probe(module: ModuleType, name: LibraryName) -> Capabilities:
    """Ask a TensorRT module what it offers."""
    found = {capability: all(has(module, n) for n in names) for capability, names in NAMES.items()}
    return Capabilities(
        **found,
        strongly_typed=found["strongly_typed_flag"] or not found["layer_precisions"],
        compute_capability_targets=_compute_capabilities(module),
        timing_cache=name == "tensorrt" and has(module, "IBuilderConfig.create_timing_cache"),
        plugins=name == "tensorrt" and has(module, "init_libnvinfer_plugins"),
        # Sharing was a preview first, then how plans are; 8.5, before both, has no plans that carry host code either.
        shared_profiles=found["profile_sharing_preview"] or found["host_code"],
    )


def has(module: Any, name: str) -> bool:
    """Whether the module has ``CLASS``, ``CLASS.member`` or a function of that name."""
    owner, _, member = name.partition(".")
    return hasattr(getattr(module, owner, None), member) if member else hasattr(module, owner)


def _compute_capabilities(module: ModuleType) -> tuple[str, ...]:
    if not has(module, "IBuilderConfig.set_compute_capability"):
        return ()
    return tuple(name for name in module.ComputeCapability.__members__ if name.startswith("SM"))
