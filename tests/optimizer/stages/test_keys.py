"""A stage's key names what the stage reads, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from engines.feeds.batching import Batching
from engines.profile import ShapeProfile
from optimizer.quantization.codes.scheme import TENSORRT
from optimizer.settings.job import Settings
from optimizer.settings.options import Precision, Sparsity
from optimizer.stages import keys
from optimizer.stages.job import Cleaned


@pytest.fixture
def key(tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """The keys of calibration and of typing for a job that differs in what is given."""
    graph = tmp_path / "model.onnx"

    def keys_of(
        asked: Settings,
        calibration: str = "a",
        held_back: str = "b",
        targets: str = "t4",
        bundle: str = "",
        here: bool = True,
        all_samples: bool = False,
    ) -> tuple[str, str]:
        inputs = SimpleNamespace(
            calibration=SimpleNamespace(digest=calibration),
            held_back=SimpleNamespace(digest=held_back),
            calibrated=True,
            batching=Batching(),
        )
        job = SimpleNamespace(
            imported=SimpleNamespace(digest="m"),
            inputs=inputs,
            settings=asked,
            tools={"onnx": "1"},
            targets=[targets],
            kept=SimpleNamespace(digest=bundle, here=here, all_samples=all_samples) if bundle else None,
        )
        cleaned = Cleaned(graph, "float graph", None, ShapeProfile({}), {"x": (1, 3)}, 10, [])
        calibrating = keys.calibration_key(job, cleaned, TENSORRT)  # type: ignore[arg-type]
        typing = keys.typing_key(job, cleaned, "tensorrt", calibrating)  # type: ignore[arg-type]
        return calibrating, typing

    return keys_of


PLAIN = Settings()


@pytest.mark.parametrize(
    "changed",
    [
        {"asked": replace(PLAIN, duration=60.0, loadgen=("server",), jobs=2)},
        {"asked": replace(PLAIN, builder_options=("tf32=off",), cpu_form="int8")},
        {"targets": "a100"},
    ],
)
def test_what_only_measures_or_builds_changes_neither(key: Callable[..., tuple[str, str]], changed: dict) -> None:
    assert key(**{"asked": PLAIN, **changed}) == key(PLAIN)


@pytest.mark.parametrize(
    "changed",
    [
        {"asked": replace(PLAIN, max_drop=0.001)},
        {"asked": replace(PLAIN, evaluate="score.py:top1")},
        {"asked": replace(PLAIN, precision=Precision.AUTO)},
        {"held_back": "other samples"},
        {"bundle": "that is updated"},
    ],
)
def test_another_budget_judges_again_and_does_not_calibrate(key: Callable[..., tuple[str, str]], changed: dict) -> None:
    calibrating, typing = key(**{"asked": PLAIN, **changed})
    assert calibrating == key(PLAIN)[0] and typing != key(PLAIN)[1]


def test_an_update_on_another_processor_knows_less(key: Callable[..., tuple[str, str]]) -> None:
    """Where the form that won on the CPU is known, the other is not made: no such answer is taken from there."""
    assert key(PLAIN, bundle="b")[1] != key(PLAIN, bundle="b", here=False)[1]


def test_a_score_of_part_of_the_samples_is_no_score_of_all(key: Callable[..., tuple[str, str]]) -> None:
    assert key(PLAIN, bundle="b")[1] != key(PLAIN, bundle="b", all_samples=True)[1]


@pytest.mark.parametrize(
    "changed",
    [
        {"calibration": "other samples"},
        {"asked": replace(PLAIN, seed=1)},
        {"asked": replace(PLAIN, calibration="minmax")},
        {"asked": replace(PLAIN, without=("fallback",))},
        {"asked": replace(PLAIN, sparsity=Sparsity.TWO_FOUR)},
    ],
)
def test_what_calibration_reads_changes_both(key: Callable[..., tuple[str, str]], changed: dict) -> None:
    assert not set(key(**{"asked": PLAIN, **changed})) & set(key(PLAIN))


def test_code_beside_the_metric_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "score.py").write_text("from helper import top1")
    (tmp_path / "helper.py").write_text("def top1(infer): return 1.0")
    asked = [Settings(evaluate=spec) for spec in ("score.py:top1", "score:top1")]
    first = [settings.digest("evaluate") for settings in asked]
    (tmp_path / "helper.py").write_text("def top1(infer): return 0.5")
    assert all(settings.digest("evaluate") != was for settings, was in zip(asked, first, strict=True))
