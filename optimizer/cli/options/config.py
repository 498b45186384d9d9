"""``--config FILE.toml``: the options of the main job in a file, each with the type it has on the command line.

The keys and their types are read off the command's own signature, so that whatever the help lists can be set.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graphs.errors import BadInput
from optimizer.cli.options.shared import settings_of
from optimizer.settings.given import option_list
from optimizer.settings.job import Settings

NOT_IN_A_FILE = ("model", "config")
COMMA_SEPARATED = ("target", "loadgen", "without")
"""Options that take several words in one text, and an array of them in a file."""
OTHER_SPELLINGS = {"targets": "target", "shapes": "shape", "plugins": "plugin", "builder-options": "builder-option"}
_NUMBERS_TOO = {"max_drop": (int, float), "batch_axis": (int,)}
"""Texts that a file may give as a number: 0.01 for 1%, 0 for the axis."""
_KINDS = {str: "text", Path: "text", int: "a whole number", float: "a number", bool: "true or false"}


def read_config(path: Path, command: Callable[..., Any]) -> dict[str, Any]:
    """The values of a TOML file by the names of ``command``'s parameters, as the command line would give them.

    Keys are the long options (``max-drop``); an option that may be repeated takes an array, ``builder-option`` also a
    table. Raises ``BadInput`` that names file, key and what is expected: for a file that is no TOML, an unknown key, a
    value of a wrong type, and a value that the settings refuse.
    """
    kinds = _kinds(command)
    values: dict[str, Any] = {}
    for key, value in _read_toml(path).items():
        dashed = key.replace("_", "-")
        name = OTHER_SPELLINGS.get(dashed, dashed).replace("-", "_")
        if name not in kinds:
            known = ", ".join(sorted(kind.replace("_", "-") for kind in kinds))
            raise BadInput(f"unknown key {key!r}", where=str(path), expected=f"one of {known}")
        values[name] = _typed(name, value, kinds[name], f"{path}: {key}")
    try:
        settings_of(values, Settings())
    except BadInput as error:
        where = f"{path}: {error.where.removeprefix('--')}"
        raise BadInput(error.what, where=where, expected=error.expected, fix=error.fix) from error
    return values


def _kinds(command: Callable[..., Any]) -> dict[str, tuple[type, bool]]:
    """(type, may be repeated) of every option of ``command``."""
    hints = typing.get_type_hints(command)
    return {name: _kind(hint) for name, hint in hints.items() if name not in (*NOT_IN_A_FILE, "return")}


def _kind(hint: Any) -> tuple[type, bool]:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    repeated = typing.get_origin(hint) is list
    return (typing.get_args(hint)[0] if repeated else hint), repeated


def _typed(name: str, value: Any, kind: tuple[type, bool], where: str) -> Any:
    item, repeated = kind
    if name == "builder_option" and isinstance(value, dict):
        return list(option_list(value))
    if repeated:
        items = value if isinstance(value, list) else [value]
        return [_one(name, part, item, where, f"{_KINDS[item]}, or an array of it") for part in items]
    if name in COMMA_SEPARATED:
        words = value if isinstance(value, list) else [value]
        return ",".join(_one(name, word, str, where, "text, or an array of it") for word in words)
    return _one(name, value, item, where, _KINDS[item])


def _one(name: str, value: Any, item: type, where: str, expected: str) -> Any:
    allowed: tuple[type, ...] = {Path: (str,), float: (int, float)}.get(item, (item,))
    if type(value) in _NUMBERS_TOO.get(name, ()):
        return str(value)
    if type(value) not in allowed:  # a bool is an int to isinstance
        raise BadInput(f"{value!r} is of the wrong type", where=where, expected=expected)
    return item(value)


def _read_toml(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput("no such file", where=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise BadInput(f"cannot be read as TOML: {error}", where=str(path)) from None
