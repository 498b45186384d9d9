"""Whose accuracy decides: the forms that engines were made of."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from engines.targets.target import TARGETS
from optimizer.stages.report.reporting import _shipped_forms


@pytest.mark.parametrize(
    ("engines", "judged"),
    [
        ({"cpu": "a"}, ["cpu"]),
        ({"cpu": "a", "t4": None, "a100": None}, ["cpu"]),
        ({"cpu": "a", "t4": None, "a100": "b"}, ["typed", "cpu"]),
        ({"t4": None}, []),
    ],
)
def test_a_graph_that_no_engine_was_built_of_is_not_judged(engines: dict[str, str | None], judged: list[str]) -> None:
    found = SimpleNamespace(
        targets=[TARGETS[name] for name in engines],
        builds={name: SimpleNamespace(engine=engine) for name, engine in engines.items()},
        forms=SimpleNamespace(typed="typed"),
        shipped={"cpu": "cpu"} if "cpu" in engines else {},
    )
    assert _shipped_forms(found) == judged
