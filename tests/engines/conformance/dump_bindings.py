"""Run as a script: print a TensorRT bindings module as JSON, {class or function: {member: [signature, ...]}}.

Signatures come from pybind11's docstrings; the members of a function are ``{"()": signatures}``.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from typing import Any

SIGNATURE = re.compile(r"^(?:\d+\. )?(\w+)\((.*)\) -> (.+)$", re.MULTILINE)


def signatures(member: Any) -> list[dict[str, Any]]:
    found = []
    for _, arguments, returns in SIGNATURE.findall(member.__doc__ or ""):
        if arguments.startswith("*args, **kwargs"):
            continue
        names = re.findall(r"(?:^|, )(\w+): ", arguments)
        found.append({"arguments": [name for name in names if name != "self"], "returns": returns.rpartition(".")[2]})
    return found


def describe(thing: Any) -> dict[str, Any]:
    if not isinstance(thing, type):
        return {"()": signatures(thing)}
    return {name: signatures(getattr(thing, name)) for name in dir(thing) if name == "__init__" or name[:2] != "__"}


def main() -> None:
    module = importlib.import_module(sys.argv[1])
    names = {name: describe(getattr(module, name)) for name in dir(module) if not name.startswith("_")}
    json.dump({"version": module.__version__, "names": names}, sys.stdout)


if __name__ == "__main__":
    main()
