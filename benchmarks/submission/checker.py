"""Running the structural checks on a folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.loadgen.log import DETAIL_FILE, DetailLog, read_detail_log
from benchmarks.loadgen.settings import Seeds
from benchmarks.submission.checks import (
    ACCURACY_FILES,
    MEANINGFUL_FIELDS,
    MEASUREMENT_FIELDS,
    ONLY_OFFICIAL,
    OPTIONAL_FILES,
    RUN_FILES,
    SYSTEM_FIELDS,
    SYSTEM_TYPES,
    CheckedFolder,
    Finding,
)
from graphs.digests import sha256
from graphs.errors import BadInput

Problem = tuple[str, Path, str]
"""(check, place, what is wrong)"""
DIVISIONS = ("open", "closed")
LARGEST_ACCURACY_LOG = 10 * 1024
"""Bytes that a truncated accuracy log may have (the submission checker's MAX_ACCURACY_LOG_SIZE)."""
LEAST_DURATION_MS, LEAST_OFFLINE_SAMPLES = 600_000, 24_576
"""What MLPerf Inference asks of a run: ten minutes, and 24,576 samples in an Offline query."""


def check_submission(folder: Path) -> CheckedFolder:
    """Every check of ``checks.CATALOGUE`` on ``folder``. Raises ``BadInput`` where there is no such folder."""
    if not folder.is_dir():
        raise BadInput("no such folder", where=str(folder), fix="optimize submission BUNDLE -o FOLDER")
    places = sorted(folder.glob("*/*/results/*/*/*"))
    problems = [*_top(folder)]
    for place in places:
        problems += _scenario(place)
    for system in sorted({place.parents[1] for place in places}):
        problems += _system(system)
    problems += [("empty", path, "is empty") for path in sorted(folder.rglob("*")) if path.is_dir() and _bare(path)]
    return CheckedFolder(len(places), [_finding(folder, problem) for problem in problems])


def _finding(folder: Path, problem: Problem) -> Finding:
    check, place, what = problem
    where = place.relative_to(folder)
    lenient = check in ONLY_OFFICIAL and where.parts[:1] == ("open",)
    compliance = "compliance" in where.parts and where.parts[:1] == ("open",)
    return Finding(check, str(where), what, "warning" if lenient or compliance else "error")


def _bare(path: Path) -> bool:
    return not any(path.iterdir())


def _top(folder: Path) -> Iterator[Problem]:
    for path in sorted(folder.iterdir()):
        if path.name not in DIVISIONS or not path.is_dir():
            yield "division", path, f"is none of {', '.join(DIVISIONS)}"
            continue
        for submitter in sorted(path.iterdir()):
            missing = [n for n in ("systems", "measurements", "results", "code") if not (submitter / n).is_dir()]
            if missing:
                yield "folders", submitter, f"lacks {', '.join(missing)}"
    if not any(folder.glob("*/*/results/*/*/*")):
        yield "folders", folder, "holds no results/SYSTEM/BENCHMARK/SCENARIO"


def _system(results: Path) -> Iterator[Problem]:
    root = results.parents[1]
    path = root / "systems" / f"{results.name}.json"
    described = _json_object(path)
    if described is None:
        yield "system-file", path, "is missing or no JSON object"
        return
    for field in SYSTEM_FIELDS:
        if field not in described:
            yield "system-fields", path, f"lacks {field}"
        elif field in MEANINGFUL_FIELDS and not str(described[field]).strip():
            yield "system-meaning", path, f"{field} is empty"
    if str(described.get("submitter", "")).lower() != root.name.lower():
        yield "system-place", path, f"submitter is {described.get('submitter')!r}, the folder is {root.name!r}"
    if described.get("division") != root.parent.name:
        yield "system-place", path, f"division is {described.get('division')!r}, the folder is {root.parent.name!r}"
    if str(described.get("system_type")) not in SYSTEM_TYPES:
        yield "system-place", path, f"system_type {described.get('system_type')!r} is none of {', '.join(SYSTEM_TYPES)}"


def _json_object(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _scenario(place: Path) -> Iterator[Problem]:
    scenario, task, system = place.name, place.parent.name, place.parents[1].name
    root = place.parents[3]
    yield from _measurements(root / "measurements" / system / task / scenario, system)
    if not (root / "code" / task).exists():
        yield "code", root / "code" / task, "is missing"
    yield from _accuracy(place / "accuracy")
    run = place / "performance" / "run_1"
    yield from _files("performance-files", run, RUN_FILES)
    yield from _run(run, scenario)
    yield from _compliance(root / "compliance" / system / task / scenario, scenario)


def _measurements(folder: Path, system: str) -> Iterator[Problem]:
    for name in ("user.conf", "mlperf.conf", "README.md"):
        if not _filled(folder / name):
            yield "measurement-files", folder / name, "is missing or empty"
    if not any(_filled(path) for path in folder.glob("calibration*")):
        yield "measurement-files", folder / "calibration_process.adoc", "is missing or empty"
    described = next((found for path in sorted(folder.glob(f"{system}*.json")) if (found := _json_object(path))), None)
    if described is None:
        yield "measurement-json", folder, f"holds no {system}_*.json"
        return
    for field in MEASUREMENT_FIELDS:
        if not described.get(field):
            yield "measurement-json", folder, f"{field} is missing or empty"


def _filled(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _files(check: str, folder: Path, wanted: frozenset[str]) -> Iterator[Problem]:
    if not folder.is_dir():
        yield check, folder, "is missing"
        return
    found = {path.name for path in folder.iterdir()}
    for name in sorted(wanted - found):
        yield check, folder / name, "is missing"
    for name in sorted(found - wanted - OPTIONAL_FILES):
        yield check, folder / name, "does not belong here"


def _accuracy(folder: Path) -> Iterator[Problem]:
    yield from _files("accuracy-files", folder, ACCURACY_FILES)
    text = folder / "accuracy.txt"
    if not text.is_file():
        return
    content = text.read_text()
    stated = re.search(r"^(\w+)=([\d.]+)", content, re.MULTILINE)
    digest = re.search(r"^hash=(\w+)$", content, re.MULTILINE)
    if stated is None:
        yield "accuracy-text", text, "states no metric (`accuracy=0.93`)"
    if digest is None:
        yield "accuracy-text", text, "has no hash="
    target = re.search(r"^target=([\d.]+)", content, re.MULTILINE)
    if stated and target and float(stated[2]) < float(target[1]):
        yield "accuracy-target", text, f"{stated[2]} is below {target[1]}"
    yield from _accuracy_log(folder / "mlperf_log_accuracy.json", digest[1] if digest else "")
    yield from _log_errors(folder)


def _accuracy_log(path: Path, digest: str) -> Iterator[Problem]:
    if not path.is_file():
        return
    content = path.read_bytes()
    if len(content) > LARGEST_ACCURACY_LOG:
        yield "accuracy-size", path, f"has {len(content)} bytes, over {LARGEST_ACCURACY_LOG}"
    elif b"\n...\n" not in content and digest and sha256(content) != digest:
        yield "accuracy-size", path, "is whole and has another hash than accuracy.txt states"


def _log_errors(folder: Path) -> Iterator[Problem]:
    for error in read_detail_log(folder).errors:
        yield "log-errors", folder / DETAIL_FILE, error


def _run(folder: Path, scenario: str) -> Iterator[Problem]:
    log, path = read_detail_log(folder), folder / DETAIL_FILE
    if not log.values:
        return  # its absence is already a finding
    yield from _log_errors(folder)
    if not log.valid:
        yield "valid", path, f"the run is {log.text('result_validity') or 'without a result'}"
    if log.text("effective_scenario") != scenario:
        yield "scenario", path, f"is of {log.text('effective_scenario')}"
    for name, value in vars(Seeds()).items():
        if log.values.get(f"effective_{name}_rng_seed") != value:
            yield "seeds", path, f"{name}_rng_seed is {log.values.get(f'effective_{name}_rng_seed')}, not {value}"
    yield from _length(log, path, scenario)


def _length(log: DetailLog, path: Path, scenario: str) -> Iterator[Problem]:
    if scenario != "Offline" and log.flag("early_stopping_met") is False:
        yield "early-stopping", path, log.text("early_stopping_result").strip() or "is not satisfied"
    duration = log.number("effective_min_duration_ms") or 0
    if duration < LEAST_DURATION_MS:
        yield "duration", path, f"is set to {duration / 1e3:g} s"
    samples = log.number("effective_samples_per_query") or 0
    if scenario == "Offline" and samples < LEAST_OFFLINE_SAMPLES:
        yield "offline-samples", path, f"has {samples:.0f}"


def _compliance(folder: Path, scenario: str) -> Iterator[Problem]:
    for test in ("TEST01", "TEST04"):
        place = folder / test
        if not place.is_dir():
            yield "compliance-files", place, "is missing"
            continue
        yield from _files("compliance-files", place / "performance" / "run_1", RUN_FILES)
        yield from _compliance_run(place / "performance" / "run_1", scenario)
        yield from _verified(place / "verify_performance.txt", must_pass=True)
        if test == "TEST01":
            yield from _answers(place)


def _compliance_run(folder: Path, scenario: str) -> Iterator[Problem]:
    for check, path, what in _run(folder, scenario):
        yield ("compliance-pass" if check in ("valid", "early-stopping") else check), path, what


def _verified(path: Path, *, must_pass: bool) -> Iterator[Problem]:
    if not path.is_file():
        yield "compliance-files", path, "is missing"
    elif must_pass and "TEST PASS" not in path.read_text():
        yield "compliance-pass", path, "does not say TEST PASS"


def _answers(place: Path) -> Iterator[Problem]:
    """TEST01's answers need not be bit-equal; then both metrics must be there."""
    verified = place / "verify_accuracy.txt"
    yield from _verified(verified, must_pass=False)
    same = verified.is_file() and "TEST PASS" in verified.read_text()
    needed = ["mlperf_log_accuracy.json"] + ([] if same else ["baseline_accuracy.txt", "compliance_accuracy.txt"])
    for name in needed:
        if not (place / "accuracy" / name).is_file():
            yield "compliance-files", place / "accuracy" / name, "is missing"
