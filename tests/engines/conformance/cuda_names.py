"""Names of cuda-python and nvidia-ml-py: those our code uses, and what the real packages say of them.

``python -m tests.engines.conformance.cuda_names SITE`` reads the packages unpacked in ``SITE`` again (no GPU needed):
``pip install --no-deps --target SITE cuda-bindings cuda-pathfinder nvidia-ml-py``.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
STAND_INS = ROOT / "tests" / "gpu_machine" / "packages"


@dataclass(frozen=True)
class Package:
    """A package our code calls: its module, the pattern of its names, where ours are, and the file of its snapshot."""

    distribution: str
    module: str
    names: str
    source: Path
    stand_in: Path

    @property
    def file(self) -> Path:
        return HERE / "snapshots" / f"{self.distribution}.json"


PACKAGES = (
    Package(
        "cuda-bindings",
        "cuda.bindings.runtime",
        r"cuda[A-Z]\w*",
        ROOT / "engines" / "cuda" / "cuda_python.py",
        STAND_INS / "cuda" / "bindings" / "runtime.py",
    ),
    Package(
        "nvidia-ml-py",
        "pynvml",
        r"(nvml[A-Z]|NVML)\w*",
        ROOT / "engines" / "targets" / "nvml.py",
        STAND_INS / "pynvml.py",
    ),
)


@dataclass(frozen=True)
class Called:
    """A function of the package that our code calls with so many arguments."""

    name: str
    arguments: int
    line: int


def used(package: Package) -> set[str]:
    """Every name of the package that our code asks its module, or an enum of it, for."""
    tree = ast.parse(package.source.read_text())
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return {name for name in attributes if re.fullmatch(package.names, name)}


def calls(package: Package) -> Iterator[Called]:
    """Calls of the package's functions: ``nvml.f(a)``, and ``call(rt.f, a)`` of those that give an error code."""
    for node in ast.walk(ast.parse(package.source.read_text())):
        if not isinstance(node, ast.Call):
            continue
        first = node.args[0] if node.args else None
        for function, count in ((node.func, len(node.args)), (first, len(node.args) - 1)):
            if isinstance(function, ast.Attribute) and re.fullmatch(package.names, function.attr):
                yield Called(function.attr, count, node.lineno)


def described(module: Any, names: set[str]) -> dict[str, Any]:
    """Of functions their arguments (one that may be left out ends in ``=``), of enums their members, of numbers their
    value, of classes nothing. Members of enums are told with their enums.
    """
    return {name: _said(getattr(module, name)) for name in sorted(names) if hasattr(module, name)}


def _said(found: Any) -> Any:
    if isinstance(found, type):
        members = (
            getattr(found, "__members__", None) if issubclass(found, Enum) or hasattr(found, "__members__") else None
        )
        return {name: int(member.value) for name, member in members.items()} if members else {}
    if isinstance(found, int):
        return int(found)
    parameters = inspect.signature(found).parameters.values()
    return [each.name if each.default is each.empty else f"{each.name}=" for each in parameters]


def snapshot(package: Package) -> dict[str, Any]:
    """What the real package said."""
    found: dict[str, Any] = json.loads(package.file.read_text())
    return found


def main(site: str) -> None:
    from importlib.metadata import distributions

    sys.path.insert(0, site)
    versions = {found.metadata["Name"]: found.version for found in distributions(path=[site])}
    for package in PACKAGES:
        module = importlib.import_module(package.module)
        stand_in = set(re.findall(rf"^(?:def|class) ({package.names})\b", package.stand_in.read_text(), re.M))
        names = used(package) | {name if isinstance(name, str) else name[0] for name in stand_in}
        said = {"version": versions[package.distribution], "names": described(module, names)}
        package.file.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
