"""Builder options a user may set by name; each maps to one setting of TensorRT's builder configuration.

``OPTIONS`` are the documented ones, with checked values. Any other builder flag (``strict_nans=on``), memory pool
(``dla_local_dram_mb=64``) and plain attribute of ``IBuilderConfig`` (``tiling_optimization_level=FAST``) is found by
its name in the library itself. What a library takes and does not use is told, never swallowed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

from engines.targets.target import Target
from engines.tensorrt.capabilities import has
from engines.tensorrt.library import Library
from graphs.digests import sha256_file
from graphs.errors import BadInput

Apply: TypeAlias = Callable[[Any, Any, Any], str]
"""(module, ``IBuilderConfig``, value) -> what was ignored, in words, or ``""``."""


@dataclass(frozen=True)
class Option:
    """One option: its allowed values in words, how they are read (``ValueError``), how one is set, and the names that
    a library must have for it (as in ``capabilities``)."""

    form: str
    read: Callable[[str], Any]
    apply: Apply
    needs: tuple[str, ...] = ()


def _switch(value: str) -> bool:
    return {"on": True, "off": False}[value]


def _within(low: int, high: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        number = int(value)
        if not low <= number <= high:
            raise ValueError(value)
        return number

    return read


def _flag(name: str) -> Option:
    def apply(module: Any, config: Any, value: bool) -> str:
        flag = getattr(module.BuilderFlag, name)
        (config.set_flag if value else config.clear_flag)(flag)
        return "" if config.get_flag(flag) == value else "the library keeps its own value"

    return Option("on or off", _switch, apply, (f"BuilderFlag.{name}",))


def _integer(attribute: str, low: int, high: int) -> Option:
    def apply(module: Any, config: Any, value: int) -> str:
        return _set(config, attribute, value)

    return Option(f"an integer from {low} to {high}", _within(low, high), apply, (f"IBuilderConfig.{attribute}",))


def _pool(name: str) -> Option:
    def apply(module: Any, config: Any, value: int) -> str:
        pool = getattr(module.MemoryPoolType, name)
        config.set_memory_pool_limit(pool, value << 20)
        kept = config.get_memory_pool_limit(pool)
        return "" if kept == value << 20 else f"the library keeps {kept >> 20} MiB"

    return Option("an integer, MiB", _within(1, 1 << 20), apply, (f"MemoryPoolType.{name}",))


def _set(config: Any, attribute: str, value: Any) -> str:
    """Set and read back: a library that does not know a setting keeps its own value without a word."""
    setattr(config, attribute, value)
    kept = getattr(config, attribute)
    return "" if kept == value else f"the library keeps {getattr(kept, 'name', kept)}"


def _hardware(value: str) -> str:
    return {"on": "AMPERE_PLUS", "off": "NONE", "same": "SAME_COMPUTE_CAPABILITY"}[value]


def _hardware_level(module: Any, config: Any, value: str) -> str:
    return _set(config, "hardware_compatibility_level", getattr(module.HardwareCompatibilityLevel, value))


_DLA_NAMES = ("IBuilderConfig.DLA_core", "IBuilderConfig.default_device_type", "BuilderFlag.GPU_FALLBACK")


def _dla(module: Any, config: Any, value: int) -> str:
    """Layers go to the DLA core; those it cannot run go to the GPU."""
    if ignored := _set(config, "DLA_core", value):
        return ignored
    config.set_flag(module.BuilderFlag.GPU_FALLBACK)
    return _set(config, "default_device_type", module.DeviceType.DLA)


def _paths(value: str) -> list[str]:
    return value.split(os.pathsep)


def _elsewhere(module: Any, config: Any, value: Any) -> str:
    """Nothing to set here: ``builder.py`` and ``timing.py`` read the value."""
    return ""


OPTIONS: dict[str, Option] = {
    "workspace_mb": _pool("WORKSPACE"),
    "optimization_level": _integer("builder_optimization_level", 0, 5),
    "max_aux_streams": _integer("max_aux_streams", 0, 16),
    "average_timing_iterations": _integer("avg_timing_iterations", 1, 64),
    "timing_cache": Option("on or off", _switch, _elsewhere),
    "tf32": _flag("TF32"),
    "refit": _flag("REFIT"),
    "strip_plan": _flag("STRIP_PLAN"),
    "version_compatible": _flag("VERSION_COMPATIBLE"),
    "exclude_lean_runtime": _flag("EXCLUDE_LEAN_RUNTIME"),
    "hardware_compatible": Option(
        "on (Ampere and later), same (compute capability) or off",
        _hardware,
        _hardware_level,
        ("HardwareCompatibilityLevel", "IBuilderConfig.hardware_compatibility_level"),
    ),
    "weight_streaming": _flag("WEIGHT_STREAMING"),
    "dla_core": Option("the number of a DLA core, 0 to 3", _within(0, 3), _dla, _DLA_NAMES),
    "plugins": Option(f"plugin libraries, separated by {os.pathsep!r}", _paths, _elsewhere),
}
_UNUSED_BY_RTX = {
    "optimization_level": "it chooses kernels when the plan is loaded",
    "average_timing_iterations": "it times no kernels",
    "timing_cache": "it times no kernels",
    "plugins": "it takes no plugins",
}
"""Options TensorRT-RTX accepts without effect: plans are byte-identical with and without (TensorRT-RTX 1.7)."""


def check_options(options: Mapping[str, str], library: Library | None = None) -> None:
    """Raise ``BadInput`` for an option that does not exist or whose value cannot be read.

    Without ``library`` only the documented options' values are checked: other names may be the library's own.
    """
    for name, value in options.items():
        option = _find(name, library)
        if option is not None:
            _read(name, option, value)
            _check_known(name, option, library)
            _check_files(name, value)


def apply_options(options: Mapping[str, str], library: Library, config: Any) -> tuple[str, ...]:
    """Set ``options`` on ``config``; returns a sentence for each that the library does not use.

    Raises ``BadInput`` naming the option and the values it takes.
    """
    ignored = []
    for name, text in options.items():
        option = _find(name, library)
        assert option is not None
        try:
            why = option.apply(library.module, config, _read(name, option, text))
        except (ValueError, AttributeError, TypeError):
            raise BadInput(
                f"builder option {name}={text} cannot be used with {library.title}", expected=option.form
            ) from None
        if library.name == "tensorrt_rtx":
            why = _UNUSED_BY_RTX.get(name, why)
        if why:
            ignored.append(f"option {name}={text} is not used by {library.title}: {why}")
    return tuple(ignored)


def target_options(options: Mapping[str, str], target: Target) -> tuple[dict[str, str], tuple[str, ...]]:
    """The options that apply to ``target``, paths made absolute, and what was left out, in words.

    Engines for Ampere and later never cover Turing: a T4 gets a plan of its own.
    """
    chosen, notes = dict(options), []
    if "plugins" in chosen:
        chosen["plugins"] = os.pathsep.join(str(Path(path).absolute()) for path in _paths(chosen["plugins"]))
    if chosen.get("hardware_compatible") == "on" and (target.compute_capability or (0, 0)) < (8, 0):
        del chosen["hardware_compatible"]
        notes.append(
            f"hardware_compatible=on covers Ampere and later, never {target.title}: this plan is for {target.sm}"
        )
    return chosen, tuple(notes)


def options_with_digests(options: Mapping[str, str]) -> dict[str, str]:
    """``options`` with the content of the files they name: what a plan depends on."""
    if "plugins" not in options:
        return dict(options)
    return {**options, "plugins": ",".join(sha256_file(Path(path)) for path in _paths(options["plugins"]))}


def plugin_libraries(options: Mapping[str, str]) -> list[str]:
    """The plugin libraries to load before a model is parsed or a plan loaded."""
    return _paths(options["plugins"]) if "plugins" in options else []


def _read(name: str, option: Option, text: str) -> Any:
    try:
        return option.read(text)
    except (ValueError, KeyError):
        raise BadInput(f"builder option {name}={text} cannot be read", expected=option.form) from None


def _check_known(name: str, option: Option, library: Library | None) -> None:
    if library is not None and not all(has(library.module, needed) for needed in option.needs):
        raise BadInput(f"{name} is not an option of {library.title}", fix="leave it out, or build with a newer one")


def _check_files(name: str, value: str) -> None:
    for path in _paths(value) if name == "plugins" else ():
        if not Path(path).is_file():
            raise BadInput("no such plugin library", where=path, expected="a shared library with TensorRT plugins")


def _find(name: str, library: Library | None) -> Option | None:
    if name in OPTIONS:
        return OPTIONS[name]
    if library is None:
        return None
    found = _librarys_own(name, library.module)
    if found is None:
        known = f"one of {', '.join(OPTIONS)}, or a builder flag, memory pool or setting of {library.title}"
        raise BadInput(f"unknown builder option {name!r}", expected=known)
    return found


def _librarys_own(name: str, module: Any) -> Option | None:
    """A builder flag, memory pool or configuration attribute of the library, by its lower-case name."""
    if name.upper() in module.BuilderFlag.__members__:
        return _flag(name.upper())
    pool = name.removesuffix("_mb").upper()
    if pool in module.MemoryPoolType.__members__ and name.endswith("_mb"):
        return _pool(pool)
    if isinstance(getattr(module.IBuilderConfig, name, None), property):
        return Option("a value of the attribute's own type", str, lambda _, config, text: _set_as(config, name, text))
    return None


def _set_as(config: Any, attribute: str, text: str) -> str:
    """Set an attribute from text, read as the type of its present value (an enum by its member's name)."""
    present = getattr(config, attribute)
    if isinstance(present, bool):
        return _set(config, attribute, _switch(text))
    if isinstance(present, (int, float, str)) and not isinstance(present, Enum):
        return _set(config, attribute, type(present)(text))
    return _set(config, attribute, getattr(type(present), text.upper()))
