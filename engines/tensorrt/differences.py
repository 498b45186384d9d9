"""How the versions of TensorRT differ, in one place: each function does a thing the way this library knows.

What a library knows is in its ``capabilities``; nothing here reads a version number.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from engines.tensorrt.library import Library

_MAPS = Path("/proc/self/maps")
_EXTERNAL = ("libcublas.so", "libcudnn.so")
"""Libraries that TensorRT 8 takes kernels from. Its own plugins bring them, where they are."""


def network_flags(library: Library) -> int:
    """How a network is created: explicit batch, and strongly typed where the library knows that."""
    flags = 0
    old = not library.capabilities.strongly_typed
    if old and library.capabilities.explicit_batch_flag:  # 8.x takes the first axis away without; later ones ignore it
        flags |= 1 << int(library.module.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    if library.capabilities.strongly_typed_flag:  # needed in 10.x, ignored in 11
        flags |= 1 << int(library.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return flags


def prepare_config(library: Library, config: Any) -> str:
    """Set what 8.x needs to be told and later versions do by themselves; returns a note on missing kernels."""
    module = library.module
    old = not library.capabilities.strongly_typed
    if old and library.capabilities.profile_sharing_preview:  # else a second context has no profile left; 10 shares all
        config.set_preview_feature(module.PreviewFeature.PROFILE_SHARING_0806, True)
    if not library.capabilities.external_tactics or _external_kernels():  # names below stand behind this capability
        return ""
    own = (module.TacticSource.EDGE_MASK_CONVOLUTIONS, module.TacticSource.JIT_CONVOLUTIONS)
    config.set_tactic_sources(sum(1 << int(source) for source in own))
    config.set_preview_feature(module.PreviewFeature.DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805, True)
    return "cuBLAS and cuDNN are not installed: the engine has TensorRT's own kernels only"


def lacks_kernels(library: Library) -> bool:
    """Whether this library takes kernels from cuBLAS and cuDNN, and they are not there."""
    return library.capabilities.external_tactics and not _external_kernels()


def _external_kernels() -> bool:
    """Whether cuBLAS and cuDNN are in this process: the plugins of a whole TensorRT 8 are linked to both, so they are
    there after the import or not at all (plugins may be absent, too)."""
    try:
        mapped = _MAPS.read_text()
    except OSError:
        return True
    return all(name in mapped for name in _EXTERNAL)


def plugin_registry(library: Library, owner: Any) -> Any:
    """The registry that ``owner``, a ``Builder`` or a ``Runtime``, looks plugins up in."""
    if library.capabilities.registry_of_owner:
        return owner.get_plugin_registry()
    return library.module.get_plugin_registry()


def load_plugin_library(library: Library, registry: Any, path: str) -> None:
    """Load a shared library with plugins; before registries could, a library registered its plugins as it was
    loaded."""
    if library.capabilities.registry_loads:
        registry.load_library(path)
    else:
        ctypes.CDLL(path, ctypes.RTLD_GLOBAL)


def allow_host_code(library: Library, runtime: Any, allowed: bool) -> None:
    """Whether plans may run code they carry (a lean runtime); older plans carry none."""
    if library.capabilities.host_code:
        runtime.engine_host_code_allowed = allowed


def activation_bytes(library: Library, engine: Any) -> int:
    """Device memory a context without its own needs; the most over all profiles."""
    if library.capabilities.sized_activations:
        return int(engine.device_memory_size_v2)
    return int(engine.device_memory_size)


def new_context(library: Library, engine: Any, *, caller_memory: bool) -> Any:
    """A context that allocates its activations, or with ``caller_memory`` is given them; None where memory is
    short."""
    if library.capabilities.allocation_strategy:
        strategy = library.module.ExecutionContextAllocationStrategy
        return engine.create_execution_context(strategy.USER_MANAGED if caller_memory else strategy.STATIC)
    return (
        engine.create_execution_context_without_device_memory() if caller_memory else engine.create_execution_context()
    )


def give_activations(library: Library, context: Any, address: int, nbytes: int) -> None:
    """Let a context work in device memory of the caller's."""
    if library.capabilities.sized_activations:
        context.set_device_memory(address, nbytes)
    else:
        context.device_memory = address


def serialized(library: Library, engine: Any) -> Any:
    """The plan of an engine with its weights, those of a stripped one included."""
    if not library.capabilities.serialization_config:
        return engine.serialize()
    config = engine.create_serialization_config()
    config.clear_flag(library.module.SerializationFlag.EXCLUDE_WEIGHTS)
    return engine.serialize_with_config(config)
