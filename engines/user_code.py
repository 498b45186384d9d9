"""Loading a function or a module that a user names: ``file.py:function``, ``module:function``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from graphs.errors import BadInput


def load_callable(spec: str) -> Callable[..., Any]:
    """The function of ``file.py:name`` or ``module:name``. Raises ``BadInput`` where there is none."""
    place, separator, name = spec.rpartition(":")
    if not separator or not place or not name:
        raise BadInput("names no function", where=spec, expected="file.py:function or module:function")
    function = getattr(load_module(place), name, None)
    if not callable(function):
        raise BadInput(f"has no function {name!r}", where=place, fix="check the name after the colon")
    found: Callable[..., Any] = function
    return found


def load_module(place: str) -> ModuleType:
    """The module of ``file.py`` or of a dotted name. Raises ``BadInput`` where it is missing or raises."""
    path = Path(place)
    if path.suffix != ".py":
        try:
            return importlib.import_module(place)
        except ImportError as error:
            raise BadInput(f"cannot be imported: {error}", where=place, expected="file.py:function") from error
    if not path.is_file():
        raise BadInput("no such file", where=place)
    name = f"_user_{path.stem}_{abs(hash(path.resolve()))}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    assert module_spec is not None and module_spec.loader is not None  # a .py suffix always has a loader
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module  # dataclasses and pickling inside the user's file look their module up
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise BadInput(f"raised while loading: {describe(error)}", where=place) from error
    return module


def describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip().removesuffix(":")
