"""The verbs that measure, as a user types them: plaster, together, submission."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Command

SCORE = """
import numpy as np

X = np.load("data.npz")["input"]

def score(infer):
    spread = np.concatenate([infer({"input": X[i : i + 16]})["logits"].std(1) for i in range(0, len(X), 16)])
    return {"metric": "spread", "value": float(spread.mean()), "per_sample": spread}
"""


@pytest.fixture
def scored(folder: Path) -> Path:
    (folder / "score.py").write_text(SCORE)
    return folder


@pytest.mark.slow
def test_one_model_through_plaster_together_and_submission(scored: Path, optimize: Command) -> None:
    options = ["--data", "data.npz", "--evaluate", "score.py:score", "--samples", "16", "--target", "cpu"]
    quick = ["--variants", "fp32,int8", "--seconds", "0.1", "--duration", "0", "-q", "--json"]
    done = optimize("plaster", "cnn.onnx", *options, *quick)
    assert done.returncode == 0, done.stderr
    study = json.loads(done.stdout)
    assert [variant["name"] for variant in study["variants"]] == ["fp32", "int8"]
    for variant in study["variants"]:
        figures = variant["plaster"]
        assert "".join(name[0] for name in figures) == "plaster"
        assert all(figures[name]["value"] is not None for name in figures if name != "energy")
        assert figures["rate_of_learning"]["details"]["cached_s"] < figures["rate_of_learning"]["value"]
        assert figures["size"]["details"]["memory_bytes"] > 0
    assert study["variants"][1]["ran"].startswith("INT8")
    assert study["steadiness"]["latency"]["speedup"]["int8"]["pairs"] >= 1
    assert (scored / "cnn.plaster" / "plaster.html").is_file()

    bundles = ["cnn.plaster/fp32", "cnn.plaster/int8"]
    done = optimize("together", *bundles, "--seconds", "0.2", "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    company = json.loads(done.stdout)
    assert [tenant["name"] for tenant in company["tenants"]] == ["fp32", "int8"]
    assert all(tenant["share"] > 0 for tenant in company["tenants"])

    run = ["--duration", "0.3", "--scenario", "offline", "--tests", "TEST01", "--evaluate", "score.py:score"]
    done = optimize("submission", bundles[1], "-o", "folder", *run, "--json")
    made = json.loads(done.stdout)
    assert made["outcome"]["scenarios"][0]["score"] == pytest.approx(made["outcome"]["direct_score"])
    assert [finding for finding in made["checks"]["findings"] if finding["level"] == "error"] == []
    assert done.returncode == 0, done.stderr
    assert optimize("submission", "folder", "--check").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plaster", "cnn.onnx", "--variants", "fp32,int3"], "unknown variant 'int3'"),
        (["plaster", "cnn.onnx", "--task", "vgg"], "no published results of task 'vgg'"),
        (["plaster", "cnn.onnx", "--target", "t4"], "cannot measure on t4"),
        (["plaster", "missing.onnx"], "missing.onnx"),
        (["together", "cnn.optimized"], "names one engine, which is to run beside others"),
        (["together", "a", "b"], "no such bundle"),
        (["together", "a", "b", "--rounds", "0"], "--rounds"),
        (["submission", "a", "-o", "b"], "no such bundle"),
        (["submission", "a"], "nowhere to write"),
        (["submission", "missing", "--check"], "no such folder"),
    ],
)
def test_bad_input_is_one_message(optimize: Command, arguments: list[str], says: str) -> None:
    done = optimize(*arguments)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr and "Traceback" not in done.stderr
