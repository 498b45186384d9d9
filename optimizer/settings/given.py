"""What a user hands over, on the command line or from Python, in the form that ``Settings`` keeps."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphs.errors import BadInput, check_text

DataSpec = str | Path | Callable[[], Any] | None
DataGiven = DataSpec | Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""What a call of the Python API takes: also samples in memory (``sample_source``)."""


def option_list(value: Mapping[str, Any] | Iterable[str] | str) -> tuple[str, ...]:
    """Builder options as a mapping (``{"tf32": False}``), a list or one text -> ``("tf32=off",)``."""
    if isinstance(value, Mapping):
        spelled = {True: "on", False: "off"}
        return tuple(f"{name}={spelled[v] if isinstance(v, bool) else v}" for name, v in value.items())
    return (value,) if isinstance(value, str) else tuple(str(item) for item in value)


def parse_fraction(text: str, where: str = "--max-drop") -> float:
    """``"1%"`` -> 0.01, ``"0.01"`` -> 0.01. Raises ``BadInput``."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise BadInput(f"{text!r} is not a fraction", where=where, expected="for example 1% or 0.01") from None


def sample_source(value: object) -> Any:
    """Samples in memory, a dict of arrays by input name or a list of these, as a function that yields them: a job knows
    them, like those of any function, by what comes out. Anything else as it is.
    """
    feeds = [value] if isinstance(value, Mapping) else value
    if not isinstance(feeds, (list, tuple)) or not feeds or not all(isinstance(feed, Mapping) for feed in feeds):
        return value

    def samples_in_memory() -> Iterable[Mapping[str, Any]]:
        return feeds

    samples_in_memory.__name__ = "samples in memory"  # as the report names them
    return samples_in_memory


def model_path(value: object) -> Path:
    """The path of a model's file. Raises ``BadInput`` for anything else, such as a model in memory."""
    if isinstance(value, (str, os.PathLike)):
        check_text(path := Path(value))
        return path
    raise BadInput(
        f"{type(value).__name__} is given",
        where="model",
        expected="the path of an .onnx file",
        fix="hand over a path; a model in memory is written to a file by onnx.save",
    )


def listed(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """``"t4, a100"`` or ``["t4", "a100"]`` -> ``("t4", "a100")``; None, ``""`` and ``"none"`` -> ``()``."""
    items = value.split(",") if isinstance(value, str) else value or ()
    return tuple(word for item in items if (word := str(item).strip()) not in ("", "none"))


def choice(kind: type[Any], value: str, where: str) -> Any:
    """The enum member with this value; raises ``BadInput`` listing the values there are."""
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(member.value for member in kind)
        raise BadInput(f"unknown value {value!r}", where=where, expected=f"one of {known}") from None
