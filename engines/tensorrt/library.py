"""Find the TensorRT library of this machine.

Two libraries share one Python surface: ``tensorrt`` (8.5 to 11; needs a GPU to build) and TensorRT-RTX (module
``tensorrt_rtx``, or ``tensorrt_rtx_bindings`` as its wheel installs it; builds ahead of time with no GPU). What
differs between them and between versions is asked of the module itself (``capabilities``), so that nothing else in
the product has to know which one it talks to.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any, TypeAlias

from engines.errors import BuildError, BuildFailure
from engines.targets.target import LibraryName, Target
from engines.tensorrt.capabilities import Capabilities, probe
from engines.tensorrt.cuda_wheels import load_cuda_wheels

LogReceiver: TypeAlias = Callable[[str, str], None]
"""Called with (severity name: ERROR, WARNING, INFO, VERBOSE, INTERNAL_ERROR; message)."""

_MODULES: dict[LibraryName, tuple[str, ...]] = {
    "tensorrt": ("tensorrt",),
    "tensorrt_rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
    "tensorrt_lean": ("tensorrt_lean",),
}
_INSTALL: dict[LibraryName, str] = {
    "tensorrt": "pip install 'enginewright[tensorrt]'",
    "tensorrt_rtx": "pip install 'enginewright[rtx]'",
    "tensorrt_lean": "pip install tensorrt-lean",
}
_TITLES: dict[LibraryName, str] = {
    "tensorrt": "TensorRT",
    "tensorrt_rtx": "TensorRT-RTX",
    "tensorrt_lean": "TensorRT lean runtime",
}
_CUDA_LIBRARY = re.compile(r"lib(?:cublas|cudnn|cudart)\w*\.so")
"""What an import names that fails for want of CUDA's libraries."""
_OLDEST_TENSORRT = (8, 5)
"""The first release with ``execute_async_v3`` and tensors by name, which running a plan stands on."""


@dataclass(frozen=True)
class Library:
    """An imported TensorRT library."""

    module: ModuleType
    name: LibraryName
    version: str
    capabilities: Capabilities

    @property
    def title(self) -> str:
        return f"{_TITLES[self.name]} {self.version}"


@dataclass(frozen=True)
class LibraryChoice:
    """The library that builds for a target here; ``name`` None means skip, and ``reason`` says why and what to
    run."""

    name: LibraryName | None
    reason: str


def installed(name: LibraryName) -> bool:
    """Whether a module of this library is installed; nothing is imported."""
    return _module_name(name) is not None


def _module_name(name: LibraryName) -> str | None:
    for module in _MODULES[name]:
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:  # no origin: a stray folder of that name, not the library
            return module
    return None


def load_library(prefer: LibraryName | None = None) -> Library:
    """Import ``prefer``, or the first of TensorRT and TensorRT-RTX that is there.

    Raises ``BuildError(MISSING_LIBRARY)`` with the command that installs it.
    """
    names: tuple[LibraryName, ...] = (prefer,) if prefer else ("tensorrt", "tensorrt_rtx")
    found = [name for name in names if installed(name)]
    if not found:
        wanted = names[0] if prefer else "tensorrt_rtx"
        raise BuildError(
            BuildFailure.MISSING_LIBRARY,
            f"{' or '.join(names)} is not installed",
            fix=_INSTALL[wanted],
        )
    return _load(found[0])


@lru_cache(maxsize=3)
def _load(name: LibraryName) -> Library:
    module_name = _module_name(name) or name
    os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")  # CUDA 11 loads every kernel of the library otherwise
    try:
        module = _imported(module_name)
    except (ImportError, OSError) as error:
        raise BuildError(
            BuildFailure.MISSING_LIBRARY, f"{module_name} cannot be imported: {error}", fix=_INSTALL[name]
        ) from error
    version = str(module.__version__)
    if name != "tensorrt_rtx" and _release(version) < _OLDEST_TENSORRT:
        raise BuildError(
            BuildFailure.MISSING_LIBRARY,
            f"{module_name} {version} is too old",
            expected=f"{module_name} >= {'.'.join(map(str, _OLDEST_TENSORRT))}, the first that runs tensors by name",
            fix=_INSTALL[name],
        )
    return Library(module, name, version, probe(module, name))


def _imported(module_name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ImportError as error:
        if not _CUDA_LIBRARY.search(str(error)) or not load_cuda_wheels():
            raise
        return importlib.import_module(module_name)


def load_runtime(name: LibraryName, *, version_compatible: bool = False) -> Library:
    """The library that runs plans of ``name``: itself, or for version-compatible plans the lean runtime in its place.

    Raises ``BuildError(MISSING_LIBRARY)`` naming what would do.
    """
    if name == "tensorrt" and version_compatible and not installed("tensorrt") and installed("tensorrt_lean"):
        return load_library("tensorrt_lean")
    return load_library(name)


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def choose_library(target: Target, native: Target | None) -> LibraryChoice:
    """Who builds for ``target`` here; ``native`` is this machine's GPU, None without one.

    Full TensorRT times kernels on the GPU, so it builds only where a GPU of the target's compute capability is;
    elsewhere TensorRT-RTX builds ahead of time for the targets it knows.
    """
    there = f"optimize MODEL.onnx --target {target.name}"
    builders = target.builders
    at_hand = native is not None and native.compute_capability == target.compute_capability
    if at_hand and installed("tensorrt"):
        return LibraryChoice("tensorrt", f"a GPU of {target.title} is here")
    if target.rtx and installed("tensorrt_rtx"):
        return LibraryChoice("tensorrt_rtx", f"built ahead of time for {target.sm}")
    if target.rtx:
        return LibraryChoice(None, f"TensorRT-RTX is not installed: {_INSTALL['tensorrt_rtx']}, then `{there}`")
    if at_hand:
        return LibraryChoice(None, f"TensorRT is not installed: {builders.install}, then `{there}`")
    if builders.jetson:
        how = f"there run: {there}"
        if not builders.runs_us:
            how = "its Python is too old for this program: run there what `optimize deploy BUNDLE tensorrt8` writes"
        return LibraryChoice(
            None, f"plans for {target.title} ({target.sm}) are built on the device itself ({builders.install}); {how}"
        )
    return LibraryChoice(
        None,
        f"{target.title} ({target.sm}) has no ahead-of-time builder ({builders.releases} builds for it, on that GPU); "
        f"there run: {builders.install} && {there}",
    )


def require_builder(library: Library, target: Target) -> None:
    """Raise ``BuildError`` where this release of full TensorRT does not build for ``target``: it would say so in its
    log only, or fail at the first kernel."""
    if library.name != "tensorrt" or target.builders.builds(library.version):
        return
    raise BuildError(
        BuildFailure.MISSING_LIBRARY,
        f"{library.title} does not build for {target.title} ({target.sm})",
        where=f"target {target.name}",
        expected=target.builders.releases,
        fix=target.builders.install,
    )


# The first logger of a process wins in TensorRT, and later ones are ignored. So there is one, and it dispatches.
_receivers: list[LogReceiver] = []


@lru_cache(maxsize=2)
def process_logger(library: Library) -> Any:
    """The one ``ILogger`` of this process for ``library``; messages go to whoever listens (``listening``)."""
    base: Any = library.module.ILogger

    class ProcessLogger(base):  # type: ignore[misc]  # the base is known only at run time
        def __init__(self) -> None:
            base.__init__(self)  # pybind11 classes demand the direct call

        def log(self, severity: Any, message: str) -> None:
            level = str(severity).rpartition(".")[2]
            for receiver in tuple(_receivers):
                receiver(level, message)

    return ProcessLogger()


@contextmanager
def errors_heard() -> Iterator[list[str]]:
    """The errors TensorRT logs meanwhile: it answers False or None and keeps the reason for its log."""
    errors: list[str] = []
    with listening(lambda level, text: errors.append(text) if "ERROR" in level else None):
        yield errors


@contextmanager
def listening(receiver: LogReceiver) -> Iterator[None]:
    """Send every TensorRT message of this process to ``receiver`` while the context is open."""
    _receivers.append(receiver)
    try:
        yield
    finally:
        _receivers.remove(receiver)
