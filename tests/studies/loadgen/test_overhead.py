"""The comparison with a bare loop runs and reports both sides."""

from __future__ import annotations

from pathlib import Path

from studies.loadgen.overhead import Overhead, measure_overhead
from tests.benchmarks.loadgen.engines_for_tests import tiny_model


def test_both_sides_are_measured(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(tiny_model())
    found = measure_overhead(str(tmp_path / "m.onnx"), batch=8, seconds=0.3, rounds=1)
    assert found.loadgen[0] > 0 and found.loop[0] > 0
    assert 0 < found.engine_share[0] <= 1
    assert Overhead(1, [95.0, 90.0, 97.0], [100.0, 90.0, 120.0], []).ratio == 0.95
