"""NVIDIA's Python bindings of TensorRT, version by version: what names they have, without TensorRT or a GPU.

``snapshots/`` holds what each real binding said of itself (``take_snapshots.py``), so that every test run compares our
code with all of them; a binding that is installed here is read again and compared with its snapshot.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from engines.targets.target import LibraryName
from engines.tensorrt.capabilities import Capabilities, probe

HERE = Path(__file__).parent
FOLDER = HERE / "snapshots"
STUBBED = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers")
STUBBED_RTX = ("tensorrt_rtx", "tensorrt_onnxparser_rtx")
Signature = dict[str, Any]
Catalogue = dict[str, dict[str, list[Signature]]]
"""Class -> member -> signatures, each with ``arguments`` and ``returns``; a function is a class with ``()``."""


@dataclass(frozen=True)
class Binding:
    """A wheel of PyPI with a real binding: ``module`` is what it installs, ``soname`` the number of its libraries."""

    package: str
    version: str
    module: str
    soname: int

    @property
    def library(self) -> LibraryName:
        return "tensorrt_rtx" if "rtx" in self.module else "tensorrt"

    @property
    def file(self) -> Path:
        return FOLDER / f"{self.library}-{self.version}.json"

    @property
    def stubbed(self) -> list[str]:
        """File names of the libraries it is linked to."""
        return [f"lib{name}.so.{self.soname}" for name in (STUBBED_RTX if self.library == "tensorrt_rtx" else STUBBED)]


BINDINGS = (
    Binding("tensorrt", "8.5.3.1", "tensorrt", 8),  # the oldest that is taken, and JetPack 5's
    Binding("tensorrt-bindings", "8.6.1", "tensorrt_bindings", 8),
    Binding("tensorrt-cu12-bindings", "10.0.1", "tensorrt_bindings", 10),
    Binding("tensorrt-cu12-bindings", "10.4.0", "tensorrt_bindings", 10),  # the last for Volta
    Binding("tensorrt-cu12-bindings", "10.16.1.11", "tensorrt_bindings", 10),  # the last 10
    Binding("tensorrt-cu13-bindings", "11.4.0.106", "tensorrt_bindings", 11),
    Binding("tensorrt-rtx-cu13-bindings", "1.7.1.116", "tensorrt_rtx_bindings", 1),
)
NEWEST, RTX = BINDINGS[-2], BINDINGS[-1]


@dataclass(frozen=True)
class Snapshot:
    """What a binding said of itself, as one may ask for it."""

    version: str
    names: Catalogue
    module: SimpleNamespace
    capabilities: Capabilities
    readonly: frozenset[str]
    """``CLASS.member`` of properties that cannot be set."""


def snapshot(binding: Binding) -> Snapshot:
    """The binding as it was read when its snapshot was taken."""
    return _described(json.loads(binding.file.read_text()), binding.library)


def _described(dumped: Mapping[str, Any], library: LibraryName) -> Snapshot:
    names: Catalogue = {name: {m: [] for m in members} for name, members in dumped["enums"].items()}
    readonly = set()
    for name, members in dumped["classes"].items():
        names[name] = {member: [_signature(s) for s in said if "->" in s] for member, said in members.items()}
        readonly |= {f"{name}.{member}" for member, said in members.items() if said == ["readonly"]}
    module = _module(dumped)
    return Snapshot(dumped["version"], names, module, probe(module, library), frozenset(readonly))  # type: ignore[arg-type]


def _signature(text: str) -> Signature:
    arguments, _, returns = text.partition("->")
    return {"arguments": arguments.split(",") if arguments else [], "returns": returns}


def _module(dumped: Mapping[str, Any]) -> SimpleNamespace:
    """Something with the binding's names, for code that asks a module what it has."""
    enums = {name: type(name, (), {**members, "__members__": members}) for name, members in dumped["enums"].items()}
    classes = {
        name: (lambda: None) if "()" in members else type(name, (), dict.fromkeys(members, property(lambda _: None)))
        for name, members in dumped["classes"].items()
    }
    return SimpleNamespace(__version__=dumped["version"], **classes, **enums)


def together(snapshots: Mapping[str, Snapshot]) -> Catalogue:
    """All names of all versions: what our code may know."""
    every: Catalogue = {}
    for one in snapshots.values():
        for owner, members in one.names.items():
            for member, found in members.items():
                kept = every.setdefault(owner, {}).setdefault(member, [])
                kept += [signature for signature in found if signature not in kept]
    return every


def read_installed(binding: Binding, work: Path, python: str = sys.executable, wheel: Path | None = None) -> Any:
    """What the binding says of itself now, from ``wheel`` (a folder it was unpacked in) or as it is installed; read in
    a process of its own, over stubs where TensorRT's libraries are absent. None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    for name in binding.stubbed:
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(work / name)]
        subprocess.run([*command, str(HERE / "stub_symbols.c")], check=True)
    folder = str(wheel or _site_of(binding.module))
    environment = {**os.environ, "LD_LIBRARY_PATH": str(work), "PYTHONPATH": folder}
    command = [python, str(HERE / "dump_bindings.py"), binding.module]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _site_of(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent.parent


def installed_version(binding: Binding) -> str:
    """The version of the binding's package that is installed here; empty without one."""
    try:
        return importlib.metadata.version(binding.package)
    except importlib.metadata.PackageNotFoundError:
        return ""
