"""A configuration starts from what LoadGen's searches found, and says where each of its values is from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.loadgen.curve import SearchSummary, ServedRate, SettingPoint, WaitedRate
from benchmarks.report.model import LoadgenSummary, Report
from deployment.triton.repository.measured import Searched, searches
from deployment.triton.repository.options import TritonOptions
from deployment.triton.repository.write import write_triton_repository
from graphs.errors import BadInput
from graphs.files import to_json, write_json
from tests.benchmarks.report.conftest import report as report  # a fixture
from tests.deployment.triton.triton_proto import parse

AddEngine = Callable[..., Path]
SERVER = LoadgenSummary(
    True, "completed queries", 900.0, unit="queries/s", batch=16, workers=2,
    search=SearchSummary(
        servers=[ServedRate(1, 600.0), ServedRate(2, 900.0), ServedRate(4, None)],
        waits=[WaitedRate(0.0, 900.0), WaitedRate(0.3, 1000.0), WaitedRate(0.75, None)],
    ),
)  # fmt: skip
OFFLINE = LoadgenSummary(
    True, "throughput", 1500.0, unit="samples/s", batch=8, workers=1,
    search=SearchSummary(
        settings=[SettingPoint(1, 8, 1500.0), SettingPoint(1, 16, 1400.0), SettingPoint(2, 8, 1300.0)]
    ),
)  # fmt: skip


def bench(folder: Path, report: Report, digest: str = "", **runs: LoadgenSummary) -> Path:
    """What ``optimize bench --search --json`` prints."""
    model = replace(report.model, digest=digest or report.model.digest)
    file = folder / f"{'-'.join(runs)}.json"
    file.write_bytes(to_json(replace(report, model=model, loadgen={"cpu": dict(runs)})))
    return file


def test_a_configuration_starts_from_what_was_searched(
    report: Report, bundle: Path, add_engine: AddEngine, tmp_path: Path
) -> None:
    add_engine("cpu", "onnxruntime")
    files = (bench(tmp_path, report, server=SERVER), bench(tmp_path, report, offline=OFFLINE))
    write_triton_repository(bundle, tmp_path / "out", name="net", options=TritonOptions(bench=files))
    config = parse(tmp_path / "out/net/config.pbtxt")
    assert config.instance_group[0].count == 2
    assert list(config.dynamic_batching.preferred_batch_size) == [8, 32]
    assert config.dynamic_batching.max_queue_delay_microseconds == 300
    text = " ".join(line.strip("# ") for line in (tmp_path / "out/net/config.pbtxt").read_text().splitlines())
    assert "count: LoadGen's search, Server, by instances: 1: 600 queries/s, 2: 900 queries/s" in text
    assert "by wait: 0 us: 900 queries/s, 300 us: 1,000 queries/s, 750 us: no more" in text
    assert "size: LoadGen's search, Offline, by batch: 8: 1,500 samples/s, 16: 1,400 samples/s; and the largest" in text


def test_what_the_user_says_goes_first(report: Report, bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    add_engine("cpu", "onnxruntime")
    given = TritonOptions(bench=(bench(tmp_path, report, server=SERVER),), instances=1, queue_delay_us=50, max_batch=4)
    write_triton_repository(bundle, tmp_path / "out", name="net", options=given)
    text = (tmp_path / "out/net/config.pbtxt").read_text()
    assert parse(tmp_path / "out/net/config.pbtxt").instance_group[0].count == 1
    for field in ("instance_group.count", "max_queue_delay_microseconds", "max_batch_size"):
        assert f"# {field}: as given\n" in text


def test_what_nobody_searched_is_said_to_be_usual(bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    add_engine("cpu", "onnxruntime")
    write_triton_repository(bundle, tmp_path / "out", name="net")
    text = (tmp_path / "out/net/config.pbtxt").read_text()
    assert "# instance_group.count: usual; not searched (optimize bench BUNDLE --target cpu --search" in text
    assert "# max_batch_size: the largest that the engine's profile covers\n" in text


def test_a_run_that_searched_nothing_decides_nothing(report: Report, bundle: Path, tmp_path: Path) -> None:
    found = replace(report, loadgen={"cpu": {"server": replace(SERVER, search=None)}, "t4": {"server": SERVER}})
    write_json(tmp_path / "two.json", found)
    write_json(tmp_path / "one.json", replace(report, loadgen={"l4": {"offline": OFFLINE}}))
    known = searches(bundle, (tmp_path / "two.json", tmp_path / "one.json"))
    assert set(known) == {"t4", "l4"} and known["t4"].instances is not None and known["t4"].instances.value == 2
    assert known["l4"] == Searched(known["l4"].instances, known["l4"].batch)


def test_a_file_that_tells_nothing_of_what_is_served(
    report: Report, bundle: Path, add_engine: AddEngine, tmp_path: Path
) -> None:
    add_engine("t4", "tensorrt")
    write_json(bundle / "report.json", replace(report, loadgen={}))
    (tmp_path / "other.json").write_text(json.dumps({"loadgen": {}}))
    for file, told in (
        (bench(tmp_path, report, server=SERVER), "tells of cpu, and served is t4"),
        (bench(tmp_path, report, "another", offline=SERVER), "is of another model"),
        (bench(tmp_path, report, singlestream=replace(SERVER, valid=False)), "holds no valid search"),
        (tmp_path / "other.json", "not a valid Report"),
        (tmp_path / "none.json", "no such file"),
    ):
        with pytest.raises(BadInput, match=told):
            write_triton_repository(bundle, tmp_path / "out", name="net", options=TritonOptions(bench=(file,)))
    assert not (tmp_path / "out").exists()
