"""A fast sample of the study: real float16 keeps the numbers, and the report claims what the judge finds."""

from __future__ import annotations

import pytest

from studies.float16.models import MODELS
from studies.float16.run import judge

SAMPLE = {
    "layer norm by Mul": ("fp16", 60),
    "RMS norm with outliers": ("int8", 30),
    "squared distances": ("fp16", 45),
    "ids to positions": ("bf16", 40),
    "a loop that adds up": ("fp16", 55),
}


@pytest.mark.parametrize("name", SAMPLE)
def test_real_float16_keeps_the_numbers_and_the_claim_is_true(name: str) -> None:
    precision, least = SAMPLE[name]
    found = judge(next(model for model in MODELS if model.name == name), precision, "a100")
    assert found.judged > least
    assert found.claimed == pytest.approx(found.judged, abs=1)
    pytest.importorskip("tensorrt_rtx_bindings", reason="the rtx extra is not installed")
    assert found.target == "built"
