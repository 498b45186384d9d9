"""The table of peak rates hangs together, and names find their row."""

from __future__ import annotations

import pytest

from engines.targets.boards import GPUS
from engines.targets.target import CPU, TARGETS, rates_of
from graphs.errors import BadInput


def test_every_gpu_target_has_a_board_and_the_cpu_has_none() -> None:
    assert CPU.rates is None
    assert all(target.rates is not None for target in TARGETS.values() if target is not CPU)


def test_what_a_gpu_can_do_follows_its_compute_capability() -> None:
    t4, a100, orin, l4, h100 = (TARGETS[name] for name in ("t4", "a100", "orin", "l4", "h100"))
    assert [t.rtx for t in (t4, a100, orin, l4, h100, CPU)] == [True, True, False, True, False, False]
    assert [t.sparse_tensor_cores for t in (t4, a100, CPU)] == [False, True, False]


@pytest.mark.parametrize("name", sorted(GPUS))
def test_every_row_has_a_source_and_dense_rates_that_fit_its_generation(name: str) -> None:
    gpu = GPUS[name]
    assert len(gpu.source) > 10 and gpu.sms > 0 and gpu.bandwidth > 0 and gpu.watts > 0
    ratio = 4 if name.startswith(("rtx3090", "rtx4090", "rtx5090")) else 2  # GeForce: half rate with FP32 accumulation
    ratio = 0.5 if gpu.capability == (7, 0) else ratio  # V100's tensor cores have no INT8
    assert gpu.int8 == pytest.approx(ratio * gpu.fp16, rel=0.02)
    assert bool(gpu.tf32) == (gpu.capability >= (8, 0)) and bool(gpu.fp8) == (gpu.capability >= (8, 9))
    assert gpu.base_mhz is None or gpu.base_mhz <= gpu.rated_mhz


def test_the_dense_rate_is_a_power_of_two_per_multiprocessor_and_cycle() -> None:
    """Tensor cores do 2048, 4096, … INT8 operations per cycle: a sparse figure in the table would show as the next."""
    expected = {"t4": 2048, "a100-sxm-80gb": 4096, "a10": 2048, "l4": 2048, "h100-sxm": 8192, "orin-agx": 4096}
    expected |= {"xavier-agx": 2048, "xavier-nx": 2048}
    for name, rate in expected.items():
        gpu = GPUS[name]
        assert gpu.int8 * 1e6 / (gpu.sms * gpu.rated_mhz) == pytest.approx(rate, rel=0.03), name


def test_names_of_targets_and_boards() -> None:
    assert rates_of("A100").name == "a100-sxm-80gb"
    assert rates_of("a100-pcie-40gb").bandwidth == 1555
    with pytest.raises(BadInput, match=r"no peak rates are known for 'p100'[\s\S]*a100-pcie-40gb"):
        rates_of("p100")
