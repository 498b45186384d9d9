"""The folder end to end: LoadGen really runs, answers are scored, compliance tests run, and the checks see damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks.loadgen.settings import Scenario
from benchmarks.submission.checker import check_submission
from benchmarks.submission.checks import CATALOGUE, CheckedFolder
from benchmarks.submission.request import SubmissionRequest
from benchmarks.submission.write import SubmissionOutcome, write_submission
from engines.build import BuildRequest, build_engine
from engines.profile import ShapeProfile, ShapeRange
from engines.targets.target import CPU
from graphs.errors import BadInput

ROOT = Path(__file__).parents[3]
SAMPLES = np.random.default_rng(5).standard_normal((100, 8)).astype(np.float32)
GRAPH = """
<ir_version: 9, opset_import: ["" : 17]>
tiny (float[n, 8] x) => (float[n, 8] y) { y = Tanh (x) }
"""


def score(infer: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Share of samples whose largest value stays in place; batches of 7, so the last one is short."""
    right = []
    for start in range(0, len(SAMPLES), 7):
        part = SAMPLES[start : start + 7]
        right.append(infer({"x": part})["y"].argmax(1) == part.argmax(1))
    scores = np.concatenate(right).astype(np.float64)
    return {"metric": "kept", "value": float(scores.mean()), "per_sample": scores}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    onnx.save(onnx.parser.parse_model(GRAPH), folder / "tiny.onnx")
    profile = ShapeProfile({"x": ShapeRange((1, 8), (4, 8), (32, 8))})
    build_engine(BuildRequest(folder / "tiny.onnx", CPU, profile, folder / "cpu", precision="fp32"), cache=False)
    return folder / "cpu"


@pytest.fixture(scope="module")
def outcome(engine: Path, tmp_path_factory: pytest.TempPathFactory) -> SubmissionOutcome:
    out = tmp_path_factory.mktemp("made") / "folder"
    return write_submission(
        SubmissionRequest(engine, score, out, "tiny", (Scenario.OFFLINE,), duration_s=0.4, reference=1.0)
    )


@pytest.fixture
def folder(outcome: SubmissionOutcome, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(outcome.root.parents[1], tmp_path / "folder"))


def found(checked: CheckedFolder, check: str) -> list[str]:
    return [f"{finding.where} {finding.what}" for finding in checked.findings if finding.check == check]


def test_the_score_over_loadgens_log_is_that_of_direct_evaluation(outcome: SubmissionOutcome) -> None:
    assert [scenario.score for scenario in outcome.scenarios] == [outcome.direct_score]
    assert all(scenario.accurate for scenario in outcome.scenarios)


def test_a_fresh_folder_passes_every_structural_check(folder: Path) -> None:
    checked = check_submission(folder)
    assert checked.errors == []
    assert checked.scenarios == 1
    assert {finding.check for finding in checked.findings} <= {"duration", "offline-samples", "compliance-pass"}


def test_compliance_runs_really_used_audit_config(outcome: SubmissionOutcome) -> None:
    tests = {path.name: path for path in outcome.root.glob("compliance/*/tiny/Offline/*")}
    assert set(tests) == {"TEST01", "TEST04"}
    for test in tests.values():
        detail = (test / "performance" / "run_1" / "mlperf_log_detail.txt").read_text()
        assert "Overriding TestSettings from audit.config" in detail
    same = (tests["TEST04"] / "performance" / "run_1" / "mlperf_log_detail.txt").read_text()
    assert '"effective_performance_issue_same", "value": true' in same
    verified = (tests["TEST01"] / "verify_accuracy.txt").read_text()
    assert "mismatched = 0" in verified and "TEST PASS" in verified
    assert int(verified.split("compared = ")[1].split()[0]) > 10


def test_nothing_in_the_folder_calls_itself_a_result(outcome: SubmissionOutcome) -> None:
    system = json.loads(next(outcome.root.glob("systems/*.json")).read_text())
    assert system["status"] == "unverified"
    assert "not MLPerf results" in system["sw_notes"]
    for path in outcome.root.glob("measurements/*/*/*/README.md"):
        assert "not reviewed by MLCommons" in path.read_text()


def test_user_conf_holds_what_loadgen_ran_with(outcome: SubmissionOutcome) -> None:
    text = next(outcome.root.glob("measurements/*/tiny/Offline/user.conf")).read_text()
    assert "*.Offline.min_duration = 400" in text
    assert "*.Offline.target_qps = " in text


def test_the_log_is_cut_and_its_whole_is_kept_beside(outcome: SubmissionOutcome) -> None:
    cut = next(outcome.root.glob("results/*/tiny/Offline/accuracy/mlperf_log_accuracy.json"))
    whole = next(outcome.full_logs.glob("*/tiny/Offline/mlperf_log_accuracy.json"))
    assert cut.stat().st_size <= 10_240 < whole.stat().st_size or cut.read_bytes() == whole.read_bytes()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "division": lambda root: (root / "results.csv").write_text("x"),
    "folders": lambda root: shutil.rmtree(root / "open" / "unverified" / "code"),
    "system-file": lambda root: next(root.glob("*/*/systems/*.json")).unlink(),
    "measurement-files": lambda root: next(root.glob("*/*/measurements/*/*/Offline/user.conf")).write_text(""),
    "measurement-json": lambda root: next(root.glob("*/*/measurements/*/*/Offline/*.json")).write_text("{}"),
    "accuracy-text": lambda root: next(root.glob("**/Offline/accuracy/accuracy.txt")).write_text("accuracy=1\n"),
    "accuracy-files": lambda root: next(root.glob("*/*/results/**/Offline/accuracy/*detail*")).unlink(),
    "accuracy-size": lambda root: next(root.glob("**/Offline/accuracy/*accuracy.json")).write_bytes(b" " * 20_000),
    "performance-files": lambda root: (next(root.glob("**/Offline/performance/run_1")) / "notes.txt").write_text("x"),
    "empty": lambda root: (root / "open" / "unverified" / "documentation").mkdir(),
    "compliance-files": lambda root: next(root.glob("**/Offline/TEST04/verify_performance.txt")).unlink(),
}


@pytest.mark.parametrize("check", DAMAGE)
def test_damage_is_found_and_named(folder: Path, check: str) -> None:
    assert not found(check_submission(folder), check)
    DAMAGE[check](folder)
    assert found(check_submission(folder), check)


def edit(folder: Path, pattern: str, old: str, new: str) -> None:
    path = next(folder.glob(pattern))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("check", "pattern", "old", "new"),
    [
        ("system-fields", "*/*/systems/*.json", '"cooling"', '"colling"'),
        ("system-meaning", "*/*/systems/*.json", '"number_of_nodes": "1"', '"number_of_nodes": ""'),
        ("system-place", "*/*/systems/*.json", '"division": "open"', '"division": "closed"'),
        ("valid", "*/*/results/*/*/Offline/performance/run_1/*detail*", '"VALID"', '"INVALID"'),
        ("seeds", "*/*/results/*/*/Offline/performance/run_1/*detail*", "2085463073848966840", "7"),
        ("scenario", "*/*/results/*/*/Offline/performance/run_1/*detail*", '"Offline"', '"Server"'),
        ("accuracy-target", "*/*/results/*/*/Offline/accuracy/accuracy.txt", "accuracy=1.0", "accuracy=0.5"),
        ("compliance-pass", "**/Offline/TEST04/verify_performance.txt", "TEST ", "TEST NOT "),
    ],
)
def test_wrong_content_is_found(folder: Path, check: str, pattern: str, old: str, new: str) -> None:
    before = len(found(check_submission(folder), check))
    edit(folder, pattern, old, new)
    after = found(check_submission(folder), check)
    assert len(after) >= max(before, 1)


def test_what_only_closed_demands_is_an_error_there(folder: Path) -> None:
    (folder / "open").rename(folder / "closed")
    checked = check_submission(folder)
    assert "duration" in {finding.check for finding in checked.errors}


def test_a_folder_in_use_is_not_touched(engine: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(BadInput, match="not empty"):
        write_submission(SubmissionRequest(engine, score, tmp_path, "tiny"))
    assert (tmp_path / "mine.txt").is_file()


def test_a_metric_that_runs_nothing_is_refused_and_leaves_nothing(engine: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="ran no sample"):
        write_submission(SubmissionRequest(engine, lambda infer: 1.0, tmp_path / "out", "tiny"))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_finished_is_never_seen(engine: Path, tmp_path: Path) -> None:
    """A run takes minutes: what a kill left looked like a folder, and stopped the next run as one in use."""
    seen: list[bool] = []

    def stop(text: str) -> None:
        seen.append((tmp_path / "out").exists())
        if "performance" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_submission(SubmissionRequest(engine, score, tmp_path / "out", "tiny", say=stop))
    assert seen and not any(seen) and list(tmp_path.iterdir()) == []


def test_every_check_is_in_the_documentation() -> None:
    page = (ROOT / "docs" / "submission.md").read_text()
    for check in CATALOGUE:
        assert f"`{check}`" in page
