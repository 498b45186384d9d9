"""Every call the check makes to NVML and to ONNX Runtime exists in the installed libraries, with that many arguments.

TensorRT's and CUDA's own are checked beside the engines (tests/engines/conformance); the check reaches them only there.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pynvml
import pytest

import engines
import engines.targets.nvml
from benchmarks.energy.counters import NvmlCounter
from engines.errors import EngineError
from engines.onnxruntime.provider import CUDA, ProviderEngine

ROOMS = ("engines", "benchmarks", "calibration", "optimizer", "deployment", "studies/gpu_check")
NVML = ("pynvml", "self._nvml")
REFERENCE = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N,3] x) => (float[N,3] y) <float two = {2.0}, float one = {1.0}> { d = Mul(x, two)  y = Add(d, one) }"""


def nvml_uses() -> list[tuple[str, int | None]]:
    """(name, number of arguments or None where it is not called) of all that is taken from NVML."""
    found: list[tuple[str, int | None]] = []
    for node in ast.walk(ast.parse(Path(engines.targets.nvml.__file__).read_text())):
        if isinstance(node, ast.Call) and _of_nvml(node.func):
            found.append((node.func.attr, len(node.args) + len(node.keywords)))
        elif isinstance(node, ast.Attribute) and _of_nvml(node):
            found.append((node.attr, None))
    return found


def _of_nvml(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node.value) in NVML


def test_nvml_has_every_name_and_takes_these_arguments() -> None:
    uses = nvml_uses()
    names = {name for name, _ in uses}
    assert {"nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetCudaComputeCapability", "NVMLError"} <= names
    for name, arguments in uses:
        member = getattr(pynvml, name)
        if arguments is not None:
            inspect.signature(member).bind(*[None] * arguments)


def test_cuda_and_nvml_are_touched_in_the_engines_alone() -> None:
    """A new direct call would escape the conformance tests; NVML is opened in one place."""
    root = Path(engines.__file__).parent.parent
    for file in (path for room in ROOMS for path in (root / room).rglob("*.py")):
        imported = {
            alias.name.split(".")[0]
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        inside = (root / "engines") in file.parents
        assert inside or not imported & {"cuda", "tensorrt", "tensorrt_rtx_bindings", "pycuda"}, file
        assert "pynvml" not in imported or file == Path(engines.targets.nvml.__file__), file


def test_the_provider_name_is_onnx_runtimes_own() -> None:
    assert CUDA in onnxruntime.get_all_providers()


def test_the_cuda_libraries_of_python_packages_are_looked_for() -> None:
    inspect.signature(onnxruntime.preload_dlls).bind()


def test_a_provider_that_is_not_there_is_refused_and_one_that_is_runs(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(REFERENCE), model)
    with ProviderEngine(model, "CPUExecutionProvider") as engine:
        assert engine.infer({"x": np.ones((1, 3), np.float32)})["y"].tolist() == [[3.0, 3.0, 3.0]]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.warns(UserWarning), pytest.raises(EngineError, match="fell back to the CPU"):
            ProviderEngine(model, "CUDAExecutionProvider")


def test_energy_without_a_driver_says_why() -> None:
    counter = NvmlCounter(0)
    if not counter.reason:
        assert counter.joules() is not None
    else:
        assert counter.reason.startswith("NVML: ") and counter.joules() is None
    counter.close()
    assert counter.joules() is None
