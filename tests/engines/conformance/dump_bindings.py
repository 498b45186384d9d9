"""Run as a script: print a TensorRT bindings module as JSON, ``{"version": ..., "classes": ..., "enums": ...}``.

A class is ``{member: [signature, ...]}``, a function of the module ``{"()": [signature, ...]}``; a signature is
``"first,second->Class"`` from pybind11's docstrings, and a property that cannot be set has the one word ``readonly``.
An enum is ``{member: value}``. Runs under Python 3.10 with nothing installed: the oldest bindings are of that time.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from typing import Any

SIGNATURE = re.compile(r"^(?:\d+\. )?(\w+)\((.*)\) -> (.+)$", re.MULTILINE)
READONLY = "readonly"


def signatures(member: Any) -> list[str]:
    if isinstance(member, property):
        return [] if member.fset else [READONLY]
    found = []
    for _, arguments, returns in SIGNATURE.findall(member.__doc__ or ""):
        if arguments.startswith("*args, **kwargs"):
            continue
        names = [name for name in re.findall(r"(?:^|, )(\w+): ", arguments) if name != "self"]
        found.append(f"{','.join(names)}->{returns.rpartition('.')[2]}")
    return sorted(set(found))


def describe(thing: Any) -> dict[str, list[str]]:
    if not isinstance(thing, type):
        return {"()": signatures(thing)}
    return {name: signatures(getattr(thing, name)) for name in dir(thing) if name == "__init__" or name[:1] != "_"}


def dump(module: Any) -> dict[str, Any]:
    things = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    enums = {name: thing for name, thing in things.items() if hasattr(thing, "__members__")}
    kept = {name: thing for name, thing in things.items() if isinstance(thing, type) or callable(thing)}
    return {
        "version": module.__version__,
        "enums": {name: {m: int(v) for m, v in thing.__members__.items()} for name, thing in enums.items()},
        "classes": {name: describe(thing) for name, thing in kept.items() if name not in enums},
    }


if __name__ == "__main__":
    json.dump(dump(importlib.import_module(sys.argv[1])), sys.stdout)
