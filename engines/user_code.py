"""Code that a user names: ``file.py:function`` or ``module:function``, loaded by one set of rules wherever it is named.

A file is loaded as Python runs a script: modules in its folder can be imported, also later, from inside a function.
A module is looked for in the working folder too, which a console script's path does not hold. Both places come last on
the path, so that nothing of the user's takes the place of an installed package.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from graphs.errors import BadInput

_ROOT = Path(__file__).resolve().parent.parent
_OUR_PACKAGES = {"benchmarks", "calibration", "deployment", "engines", "graphs", "optimizer"}
_INSTALLED = {"site-packages", "dist-packages"}
RAISED = (Exception, SystemExit)
"""How code of a user's can end: a script's ``sys.exit("no labels")`` must not end the command without a word."""
FORMS = "file.py:function or module:function"
_NAMES_UNSEEN = r"import \*|globals|locals|vars|setattr|exec|__dict__|__getattr__"
"""What makes names in a module that do not stand in its text."""
_LEFT_IN: dict[str, str] = {}
"""By our working folder, the one that code of the user's has changed to from there."""


@contextmanager
def where_it_left_off() -> Iterator[None]:
    """Code of a user's runs in the working folder that it was in last, and ours goes on in its own: a function that
    changes directory must neither find itself moved back, nor make paths unreadable that are relative to where the
    job began. The folder is the process's: no other thread may open files meanwhile.
    """
    ours = _working_folder()
    if ours in _LEFT_IN and Path(_LEFT_IN[ours]).is_dir():
        os.chdir(_LEFT_IN[ours])
    try:
        yield
    finally:
        theirs = _working_folder()
        if ours and theirs != ours:
            os.chdir(ours)
            _LEFT_IN[ours] = theirs
        else:
            _LEFT_IN.pop(ours, None)


def _working_folder() -> str:
    """Empty where it has been removed."""
    try:
        return str(Path.cwd())
    except OSError:
        return ""


def load_callable(spec: str, expected: str = FORMS) -> Callable[..., Any]:
    """The function of ``file.py:name`` or ``module:name``. Raises ``BadInput`` where there is none, the cause kept."""
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise BadInput("names no function", where=spec, expected=expected)
    function = getattr(load_module(place, expected), name, None)
    if not callable(function):
        raise BadInput(f"has no function {name!r}", where=place, fix="check the name after the colon")
    found: Callable[..., Any] = function
    return found


def check_named(spec: str, expected: str = FORMS) -> None:
    """Raises ``BadInput`` where ``file.py:name`` cannot be: there is no such file, or no such name in it. None of its
    code is run; whether the name is a function is seen when it is loaded.
    """
    place, _, name = spec.rpartition(":")
    if not place.endswith(".py"):
        return
    if not Path(place).is_file():
        raise BadInput("no such file", where=place, expected=expected)
    try:
        text = Path(place).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror or error}", where=place) from error
    if not re.search(rf"\b{re.escape(name)}\b", text) and not re.search(_NAMES_UNSEEN, text):
        raise BadInput(f"has no function {name!r}", where=place, fix="check the name after the colon")


def load_module(place: str, expected: str = FORMS) -> ModuleType:
    """The module of ``file.py`` or of a dotted name. Raises ``BadInput`` where it is missing or raises."""
    is_file = place.endswith(".py")
    path = Path(place).resolve()
    if is_file and not path.is_file():
        raise BadInput("no such file", where=place, expected=expected)
    try:
        with where_it_left_off():
            return _run_file(path) if is_file else _import(place)
    except RAISED as error:
        raise BadInput(f"importing it failed: {describe(error)}", where=place, expected=expected) from error


def _import(name: str) -> ModuleType:
    _search(Path.cwd())
    return importlib.import_module(name)


def _run_file(path: Path) -> ModuleType:
    _search(path.parent)
    name = f"_user_{path.stem}_{abs(hash(path))}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a .py suffix always has a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling inside the user's file look their module up
    spec.loader.exec_module(module)
    return module


def _search(folder: Path) -> None:
    """Imports find modules in ``folder`` from now on, after everything else."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def describe(error: BaseException) -> str:
    """The error, and the last line of code of the user's own that it came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}".strip().removesuffix(":") + place


def _is_users(file: str) -> bool:
    path = Path(file)
    ours = path.is_relative_to(_ROOT) and path.relative_to(_ROOT).parts[0] in _OUR_PACKAGES
    return path.is_file() and not ours and not _INSTALLED & set(path.parts)
