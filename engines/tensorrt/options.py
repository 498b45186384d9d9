"""Builder options a user may set by name; each maps to one setting of TensorRT's builder configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

from engines.errors import BadInput

Apply: TypeAlias = Callable[[ModuleType, Any, str], None]


@dataclass(frozen=True)
class Option:
    """One option: its allowed values in words, and how it is set on an ``IBuilderConfig``."""

    form: str
    apply: Apply


def _flag(name: str) -> Option:
    def apply(module: ModuleType, config: Any, value: str) -> None:
        if value not in ("on", "off"):
            raise ValueError(value)
        flag = getattr(module.BuilderFlag, name)
        (config.set_flag if value == "on" else config.clear_flag)(flag)

    return Option("on or off", apply)


def _integer(attribute: str, low: int, high: int) -> Option:
    def apply(module: ModuleType, config: Any, value: str) -> None:
        setattr(config, attribute, _int_within(value, low, high))

    return Option(f"an integer from {low} to {high}", apply)


def _workspace(module: ModuleType, config: Any, value: str) -> None:
    config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, _int_within(value, 1, 1 << 20) << 20)


def _int_within(value: str, low: int, high: int) -> int:
    number = int(value)
    if not low <= number <= high:
        raise ValueError(value)
    return number


OPTIONS: dict[str, Option] = {
    "workspace_mb": Option("an integer, MiB of scratch memory a kernel may use", _workspace),
    "optimization_level": _integer("builder_optimization_level", 0, 5),
    "max_aux_streams": _integer("max_aux_streams", 0, 16),
    "average_timing_iterations": _integer("avg_timing_iterations", 1, 64),
    "tf32": _flag("TF32"),
    "strict_nans": _flag("STRICT_NANS"),
    "refit": _flag("REFIT"),
    "strip_plan": _flag("STRIP_PLAN"),
    "version_compatible": _flag("VERSION_COMPATIBLE"),
    "weight_streaming": _flag("WEIGHT_STREAMING"),
}


def check_options(options: Mapping[str, str]) -> None:
    """Raise ``BadInput`` for an option that does not exist."""
    for name in options:
        if name not in OPTIONS:
            raise BadInput(f"unknown builder option {name!r}", expected=f"one of {', '.join(OPTIONS)}")


def apply_options(options: Mapping[str, str], module: ModuleType, config: Any) -> None:
    """Set ``options`` on ``config``. Raises ``BadInput`` naming the option and the values it takes."""
    check_options(options)
    for name, value in options.items():
        try:
            OPTIONS[name].apply(module, config, value)
        except (ValueError, AttributeError):
            raise BadInput(
                f"builder option {name}={value} cannot be used with {module.__name__}", expected=OPTIONS[name].form
            ) from None
