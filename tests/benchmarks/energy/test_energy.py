"""Energy counters on folders of the kernel's form, and the figure made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.energy.counters import NvmlCounter, RaplCounter
from benchmarks.energy.measure import measure_energy
from tests.benchmarks.energy.meter import Meter
from tests.benchmarks.timing.sleeping import FEED, Sleeping


def zone(root: Path, folder: str, name: str, microjoules: int, span: int = 1_000_000) -> Path:
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text(f"{span}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    return path / "energy_uj"


def test_packages_and_memory_are_counted_and_cores_are_not_counted_twice(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0", 100)
    core = zone(tmp_path, "intel-rapl:0:0", "core", 50)
    memory = zone(tmp_path, "intel-rapl:0:1", "dram", 10)
    counter = RaplCounter(tmp_path)
    assert counter.joules() == 0
    package.write_text("500100")
    core.write_text("400050")
    memory.write_text("100010")
    assert counter.joules() == pytest.approx(0.6)


def test_a_counter_that_wraps_around_goes_on(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0", 900_000)
    counter = RaplCounter(tmp_path)
    package.write_text("99999")
    assert counter.joules() == pytest.approx(0.2)


def test_without_a_counter_the_figure_says_why(tmp_path: Path) -> None:
    engine: Any = Sleeping(0.001)
    energy = measure_energy(engine, FEED, RaplCounter(tmp_path))
    assert energy.inferences_per_joule is None
    assert "not measurable here: no RAPL counter" in energy.how


def test_a_missing_driver_is_a_reason() -> None:
    counter = NvmlCounter(97)
    assert counter.joules() is None
    assert "NVML" in counter.reason


class Stuck(Meter):
    def joules(self) -> float:
        return 1.0


def test_inferences_per_joule_counts_samples() -> None:
    engine: Any = Sleeping(0.01)
    energy = measure_energy(engine, FEED, Meter(), seconds=0.1)
    assert energy.inferences_per_joule is not None and 0.5 <= energy.inferences_per_joule <= 1.1
    assert energy.watts is not None and energy.watts > 50


def test_a_counter_that_stands_still_gives_no_figure() -> None:
    engine: Any = Sleeping(0.01)
    assert "did not move" in measure_energy(engine, FEED, Stuck(), seconds=0.05).how
