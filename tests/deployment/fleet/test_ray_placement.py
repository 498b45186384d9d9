"""Which nodes of a cluster may build for which target."""

from __future__ import annotations

import pytest

from deployment.fleet.placement import accelerator_of, check_places, resources_for
from engines.targets.target import Target, resolve_targets
from graphs.errors import BadInput

NAMES = ("A100-80G", "A10G", "T4")
OFFERED = ["CPU", "memory", "node:10.0.0.1", *(f"accelerator_type:{name}" for name in NAMES)]


def target(name: str) -> Target:
    return resolve_targets([name], None)[0]


@pytest.mark.parametrize(
    ("name", "resource"),
    [("a100", "A100-80G"), ("a10", "A10G"), ("t4", "T4"), ("l4", None), ("h100", None), ("cpu", None)],
)
def test_a_target_finds_its_nodes(name: str, resource: str | None) -> None:
    found = accelerator_of(target(name), OFFERED)
    assert found == (f"accelerator_type:{resource}" if resource else None)


def test_what_is_built_ahead_of_time_goes_anywhere() -> None:
    assert resources_for(target("l4"), OFFERED) == {}
    assert resources_for(target("t4"), OFFERED) == {"accelerator_type:T4": 1.0}
    check_places([target("cpu"), target("l4"), target("t4")], OFFERED, "auto")


def test_a_target_that_no_node_has_is_refused_before_any_work() -> None:
    with pytest.raises(BadInput, match="no node can build for h100, v100") as error:
        check_places([target("t4"), target("h100"), target("v100")], OFFERED, "auto")
    assert "A100-80G, A10G, T4" in str(error.value) and '{"accelerator_type:H100": 1}' in str(error.value)
    with pytest.raises(BadInput, match="no accelerators"):
        check_places([target("h200")], ["CPU"], "auto")
