"""A call of the Python API as text that makes the same bundle again, for reports of runs that no command started."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any

from optimizer.settings.asked_plan import AskedPlan
from optimizer.settings.job import Settings


def call_text(model: Path, settings: Settings, out: Path) -> str:
    """``optimize("m.onnx", precision="fp16", out="there")``, options at their defaults left out; empty where an option
    is an object that no text names, such as a function defined at a prompt.
    """
    values = {field.name: (getattr(settings, field.name), field.default) for field in fields(settings)}
    return _call("optimize", [model], {name: value for name, (value, usual) in values.items() if value != usual}, out)


def update_text(bundle: Path, model: Path, options: Mapping[str, Any], out: Path) -> str:
    """``update("m.optimized", "new.onnx", out="there")``, likewise; ``options`` are None or empty where not given."""
    return _call("update", [bundle, model], {name: value for name, value in options.items() if value}, out)


def _call(function: str, paths: Sequence[Path], options: Mapping[str, Any], out: Path) -> str:
    texts = {name: _text(value) for name, value in options.items()}
    if None in texts.values():
        return ""
    arguments = [*(repr(str(path)) for path in paths), *(f"{name}={text}" for name, text in texts.items())]
    return f"{function}({', '.join([*arguments, f'out={str(out)!r}'])})"


def _text(value: Any) -> str | None:
    if isinstance(value, Enum):
        return repr(value.value)
    if isinstance(value, AskedPlan):
        return repr(value.source) if value.source else None
    if isinstance(value, Path):
        return repr(str(value))
    if isinstance(value, tuple):
        return repr(list(value))
    if callable(value):
        name = name_of(value)
        return repr(name) if name is not None else None
    return repr(value) if isinstance(value, (str, int, float, bool)) or value is None else None


def name_of(function: Callable[..., Any]) -> str | None:
    """``"module:function"`` where the function can be imported by that name again."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    return f"{module}:{name}" if module not in (None, "__main__") and name.isidentifier() else None
