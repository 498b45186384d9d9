"""Engines at once: real processes on real cores, MIG placement against a driver of the real names, and failures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks.together.placement import MigInstance, Placement, find_mig_instances, on_cores, on_mig
from benchmarks.together.run import Tenant, run_together
from engines.build import BuildRequest, build_engine
from engines.errors import EngineError
from engines.profile import ShapeProfile, ShapeRange
from engines.targets.target import CPU
from graphs.errors import BadInput

GRAPH = """
<ir_version: 9, opset_import: ["" : 17]>
busy (float[n, 64] x) => (float[n, 64] y) { a = MatMul (x, w)  b = Tanh (a)  y = MatMul (b, w) }
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    model = onnx.parser.parse_model(GRAPH)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(64, dtype=np.float32), "w"))
    onnx.save(model, folder / "busy.onnx")
    profile = ShapeProfile({"x": ShapeRange((1, 64), (4, 64), (32, 64))})
    build_engine(BuildRequest(folder / "busy.onnx", CPU, profile, folder / "cpu", precision="fp32"), cache=False)
    return folder / "cpu"


def tenant(engine: Path, name: str, placement: Placement) -> Tenant:
    return Tenant(name, engine, {"x": np.zeros((1, 64), np.float32)}, 4, placement)


def test_two_engines_on_one_core_halve_and_share_fairly(engine: Path) -> None:
    core = sorted(os.sched_getaffinity(0))[0]
    tenants = [tenant(engine, name, Placement([core], title=f"core {core}")) for name in ("a", "b")]
    found = run_together(tenants, seconds=0.4, rounds=2)
    assert [result.name for result in found.tenants] == ["a", "b"]
    if os.getloadavg()[0] < len(os.sched_getaffinity(0)):  # others on the core take from one engine as from two
        assert 0.25 < found.efficiency < 0.85, "two on one core cannot both keep what they have alone"
        assert found.fairness > 0.8
    assert found.aggregate == pytest.approx(sum(result.together for result in found.tenants))
    assert "2 engines on 1 cores" in found.notes[0]
    assert all(result.alone > 0 and result.together_p99_ms > 0 for result in found.tenants)


def test_an_engine_that_cannot_be_opened_is_named(engine: Path, tmp_path: Path) -> None:
    core = sorted(os.sched_getaffinity(0))[0]
    broken = Tenant("broken", tmp_path, {"x": np.zeros((1, 64), np.float32)}, 1, Placement([core]))
    with pytest.raises(EngineError, match="its process ended") as caught:
        run_together([tenant(engine, "good", Placement([core])), broken], seconds=0.1, rounds=1)
    assert "broken" in caught.value.where


def test_cores_are_split_evenly_and_shared_only_when_there_are_too_few() -> None:
    assert [p.cores for p in on_cores(2, [0, 1, 2, 3, 4])] == [[0, 1], [2, 3, 4]]
    assert [p.cores for p in on_cores(3, [4, 5, 6])] == [[4], [5], [6]]
    assert [p.cores for p in on_cores(3, [0, 1])] == [[0], [1], [0]]


class FakeNvml:
    """A driver with one partitioned A100 (three instances in seven slots) and one T4, under NVML's own names."""

    class NVMLError(Exception):
        pass

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return ("a100", "t4")[index]

    def nvmlDeviceGetMigMode(self, handle: str) -> tuple[int, int]:
        if handle == "t4":
            raise self.NVMLError("not supported")
        return 1, 1

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: str) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: str, slot: int) -> str:
        if slot > 2:
            raise self.NVMLError("not found")
        return f"MIG-{slot}"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:
        return type("Memory", (), {"total": 10 << 30})

    def nvmlDeviceGetUUID(self, handle: str) -> bytes:
        return handle.encode()

    def nvmlDeviceGetName(self, handle: str) -> str:
        return "NVIDIA A100-SXM4-80GB MIG 1g.10gb"


def test_mig_instances_are_found_and_gpus_without_them_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", FakeNvml())
    instances = find_mig_instances()
    assert [found.uuid for found in instances] == ["MIG-0", "MIG-1", "MIG-2"]
    assert instances[0].memory_mb == 10 << 10 and instances[0].gpu == 0
    assert [placement.device for placement in on_mig(3, instances)] == ["MIG-0", "MIG-1", "MIG-2"]


def test_the_nvml_names_used_are_real() -> None:
    import pynvml

    names = [name for name in vars(FakeNvml) if name.startswith("nvml")]
    assert names
    assert all(callable(getattr(pynvml, name)) for name in names)


def test_too_few_instances_say_how_to_get_more() -> None:
    with pytest.raises(BadInput, match="7 engines, 1 MIG instance") as caught:
        on_mig(7, [MigInstance("MIG-0", "1g.10gb", 10_000, 0)])
    assert "nvidia-smi mig" in caught.value.fix


def test_no_driver_means_no_instances() -> None:
    assert find_mig_instances() == [] or Path("/dev/nvidia0").exists()


def test_each_process_sees_its_instance_alone() -> None:
    from benchmarks.together.run import _environment

    assert _environment(Placement(device="MIG-7"))["CUDA_VISIBLE_DEVICES"] == "MIG-7"
