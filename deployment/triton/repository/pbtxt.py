"""A small writer of protobuf text format (https://protobuf.dev/reference/protobuf/textformat-spec/)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np


class Symbol(str):
    """An enum value: written bare, not quoted."""


Scalar: TypeAlias = "str | int | float | bool"
Value: TypeAlias = "Scalar | Mapping[str, Value] | Sequence[Value]"


def to_pbtxt(message: Mapping[str, Value], indent: int = 0) -> str:
    """``message`` in protobuf text format. A list of messages repeats its field; a list of scalars is ``[ 1, 2 ]``."""
    return "".join(_field(name, value, "  " * indent, indent) for name, value in message.items())


def _field(name: str, value: Value, pad: str, indent: int) -> str:
    if isinstance(value, Mapping):
        inner = to_pbtxt(value, indent + 1)
        return f"{pad}{name} {{\n{inner}{pad}}}\n"
    if isinstance(value, Sequence) and not isinstance(value, str):
        if any(isinstance(item, Mapping) for item in value):
            return "".join(_field(name, item, pad, indent) for item in value)
        if not value:
            return f"{pad}{name}: [ ]\n" if name in ("shape", "dims") else ""
        return f"{pad}{name}: [ {', '.join(_scalar(item) for item in value)} ]\n"
    return f"{pad}{name}: {_scalar(value)}\n"


def _scalar(value: Value) -> str:
    if isinstance(value, Symbol):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, (int, float, np.integer)):
        return repr(value)
    raise TypeError(f"{type(value).__name__} is no protobuf scalar")


def _quoted(text: str) -> str:
    """A string literal: every byte that is not plain ASCII becomes an octal escape."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and byte not in (34, 92) else f"\\{byte:03o}" for byte in text.encode()
    )
    return f'"{plain}"'
