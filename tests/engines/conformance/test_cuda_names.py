"""Every name of cuda-python and pycuda that our runtimes use exists in them. Neither a GPU nor a driver is needed."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

import engines.cuda
from tests.engines.conformance.used_names import MODULE, Use, problems, read_uses

SOURCE = Path(engines.cuda.__file__).parent
CUDA_PYTHON_SEEDS = dict.fromkeys(("rt", "call.bindings", "self._call.bindings", "self.bindings"), MODULE)
PYCUDA_SEEDS = {
    "drv": MODULE,
    "self._drv": MODULE,
    "self._handle": "Device",
    "self._context": "Context",
    "drv.mem_alloc(max(1, nbytes))": "DeviceAllocation",
}


def read(file: str, seeds: dict[str, str]) -> list[Use]:
    uses, _ = read_uses({SOURCE / file: seeds}, {})
    return uses


@pytest.fixture(scope="module")
def bindings() -> ModuleType:
    return pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")


def test_cuda_python_has_every_name(bindings: ModuleType) -> None:
    uses = read("cuda_python.py", CUDA_PYTHON_SEEDS)
    found = {use.member for use in uses if use.owner == MODULE}
    assert {"cudaMemcpyAsync", "cudaStreamBeginCapture", "cudaGraphLaunch"} <= found
    for use in uses:
        owner = bindings if use.owner == MODULE else getattr(bindings, use.owner)
        assert hasattr(owner, use.member), use


def test_cuda_python_calls_have_the_right_number_of_arguments(bindings: ModuleType) -> None:
    checked = 0
    for node in ast.walk(ast.parse((SOURCE / "cuda_python.py").read_text())):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Attribute):
            name = node.args[0].attr
            if name.startswith("cuda") and hasattr(bindings, name):
                assert len(node.args) - 1 == _parameters(getattr(bindings, name)), ast.unparse(node)
                checked += 1
    assert checked > 20


def _parameters(function: object) -> int:
    signature = (inspect.getdoc(function) or "").partition("\n")[0]
    found = re.fullmatch(r"\w+\((.*)\)", signature)
    assert found, f"no signature in {signature!r}"
    return len([part for part in found.group(1).split(",") if part.strip()])


def test_pycuda_has_every_name() -> None:
    listed = json.loads((Path(__file__).parent / "pycuda_names.json").read_text())
    names = {owner: {member: [] for member in members} | {"__init__": []} for owner, members in listed["names"].items()}
    uses = read("pycuda_runtime.py", PYCUDA_SEEDS)
    found = {f"{use.owner}.{use.member}" for use in uses}
    assert {"Stream.handle", "Event.time_since", "Device.retain_primary_context", f"{MODULE}.mem_alloc"} <= found
    assert [text for use in uses for text in problems(use, names)] == []


def test_the_list_of_pycuda_names_agrees_with_an_installed_pycuda() -> None:
    try:
        driver = importlib.import_module("pycuda.driver")
    except ImportError as error:
        pytest.skip(f"pycuda cannot be imported here: {error}")
    for use in read("pycuda_runtime.py", PYCUDA_SEEDS):
        assert hasattr(driver if use.owner == MODULE else getattr(driver, use.owner), use.member), use
