"""Every name of pycuda that our runtime uses exists in it. Neither a GPU nor a driver is needed: pycuda imports only
where both are, so its names are those of its source (``list_pycuda_names.py``).
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

import engines.cuda
from tests.engines.conformance.used_names import MODULE, Use, problems, read_uses

SEEDS = {
    "drv": MODULE,
    "self._drv": MODULE,
    "self._handle": "Device",
    "self._context": "Context",
    "drv.mem_alloc(max(1, nbytes))": "DeviceAllocation",
}


@pytest.fixture
def uses() -> list[Use]:
    found, _ = read_uses({Path(engines.cuda.__file__).parent / "pycuda_runtime.py": SEEDS}, {})
    return found


def test_every_name_is_real(uses: list[Use]) -> None:
    listed = json.loads((Path(__file__).parent / "pycuda_names.json").read_text())
    names = {owner: {member: [] for member in members} | {"__init__": []} for owner, members in listed["names"].items()}
    found = {f"{use.owner}.{use.member}" for use in uses}
    assert {"Stream.handle", "Event.time_since", "Device.retain_primary_context", f"{MODULE}.mem_alloc"} <= found
    assert [text for use in uses for text in problems(use, names)] == []


def test_the_list_agrees_with_an_installed_pycuda(uses: list[Use]) -> None:
    try:
        driver = importlib.import_module("pycuda.driver")
    except ImportError as error:
        pytest.skip(f"pycuda cannot be imported here: {error}")
    for use in uses:
        assert hasattr(driver if use.owner == MODULE else getattr(driver, use.owner), use.member), use
