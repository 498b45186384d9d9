"""Slices for models: as small as they may be, never two in one place, and scripts that start one server in each."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment.mig.plan import KEPT, Demand, MigPlan, plan_slices
from deployment.mig.scripts import partition_script, serving_script
from engines.targets.mig import MIG_GPUS
from graphs.errors import BadInput

A100 = MIG_GPUS["a100-40gb"]
MIB = 1 << 20


def demand(name: str, load: float, rate: float = 7000.0, mib: int = 100) -> Demand:
    return Demand(name, f"/bundles/{name}", load, rate, mib * MIB, "measured")


def check(plan: MigPlan) -> None:
    """No two slices in one place, no more of a GPU than it has, and every load answered."""
    gpu = MIG_GPUS[plan.gpu]
    profiles = {profile.name: profile for profile in gpu.profiles}
    for number in range(plan.gpus):
        taken = [each for each in plan.slices if each.gpu == number]
        places = [place for s in taken for place in range(s.start, s.start + profiles[s.profile].memory)]
        assert len(places) == len(set(places)) and all(s.start in profiles[s.profile].starts for s in taken)
        assert sum(profiles[s.profile].compute for s in taken) <= gpu.compute
    for each in plan.demands:
        assert sum(s.rate for s in plan.slices if s.model == each.name) >= each.load - 0.1 * len(plan.slices)
        assert all(profiles[s.profile].memory_gb << 30 > each.bytes for s in plan.slices if s.model == each.name)


def test_seven_workloads_go_on_seven_slices_of_one_gpu() -> None:
    plan = plan_slices(A100, [demand(f"w{number}", 900) for number in range(7)])
    check(plan)
    assert plan.gpus == 1 and [each.profile for each in plan.slices] == ["1g.5gb"] * 7
    assert sorted(each.start for each in plan.slices) == list(range(7))


def test_more_load_takes_more_slices_and_more_memory_larger_ones() -> None:
    plan = plan_slices(A100, [demand("busy", 2500), demand("large", 100, mib=8000), demand("small", 1)])
    check(plan)
    by_model = {name: [s.profile for s in plan.slices if s.model == name] for name in ("busy", "large", "small")}
    assert by_model == {"busy": ["1g.5gb"] * 3, "large": ["1g.10gb"], "small": ["1g.5gb"]}
    assert next(s.rate for s in plan.slices if s.model == "busy") == pytest.approx(7000 / 7 * KEPT, abs=0.1)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInput, match="more than a whole"):
        plan_slices(A100, [demand("huge", 1, mib=60_000)])
    with pytest.raises(BadInput, match="busy alone needs 143 of NVIDIA A100 40 GB"):
        plan_slices(A100, [demand("busy", 1e6)])
    for load in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(BadInput, match="a load of"):
            plan_slices(A100, [demand("odd", load)])
    eight = [demand(f"w{number}", 900) for number in range(8)]
    with pytest.raises(BadInput, match="8 slices need 2 of"):
        plan_slices(A100, eight)
    plan = plan_slices(A100, eight, 2)
    check(plan)
    assert plan.gpus == 2


@given(
    st.sampled_from(sorted(MIG_GPUS)),
    st.lists(st.tuples(st.floats(1, 20_000), st.floats(500, 20_000), st.integers(1, 18_000)), min_size=1, max_size=9),
)
def test_any_plan_holds(name: str, rows: list[tuple[float, float, int]]) -> None:
    demands = [demand(f"m{index}", load, rate, mib) for index, (load, rate, mib) in enumerate(rows)]
    check(plan_slices(MIG_GPUS[name], demands, 10_000))


def test_the_scripts_cut_as_planned_and_start_one_server_in_each_slice(tmp_path: Path) -> None:
    plan = plan_slices(A100, [demand("it's", 2500), demand("large", 100, mib=8000)])
    words = partition_script(plan)
    assert "nvidia-smi mig -i 0 -cgi 1g.10gb,1g.5gb,1g.5gb,1g.5gb -C" in words
    subprocess.run(["sh", "-n"], input=words, text=True, check=True)
    stand_ins = {
        "nvidia-smi": "#!/bin/sh\n"
        "echo 'GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d)'\n"
        "echo '  MIG 1g.10gb     Device  0: (UUID: MIG-aa)'\n"
        "echo '  MIG 1g.5gb      Device  1: (UUID: MIG-bb)'\n"
        "echo '  MIG 1g.5gb      Device  2: (UUID: MIG-cc)'\n"
        "echo '  MIG 1g.5gb      Device  3: (UUID: MIG-dd)'\n",
        "optimize": f'#!/bin/sh\necho "$CUDA_VISIBLE_DEVICES $*" >> {tmp_path}/started; sleep 0.2\n',
    }
    for name, text in stand_ins.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = serving_script(plan, "a100")
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert sorted((tmp_path / "started").read_text().splitlines()) == [
        "MIG-aa serve large=/bundles/large --target a100 --port 8000 --grpc-port 8001",
        "MIG-bb serve it's=/bundles/it's --target a100 --port 8002 --grpc-port 8003",
        "MIG-cc serve it's=/bundles/it's --target a100 --port 8004 --grpc-port 8005",
        "MIG-dd serve it's=/bundles/it's --target a100 --port 8006 --grpc-port 8007",
    ]
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "slices 1g.10gb are needed" in done.stderr
