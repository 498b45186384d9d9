"""The study's page and table, on a made-up study; in a real browser where one is installed."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.accuracy.task_metric import TaskAccuracy
from benchmarks.energy.measure import Energy
from benchmarks.measurement import summarize_latency
from benchmarks.memory import EngineMemory
from benchmarks.plaster import figures
from benchmarks.plaster.figures import Learning, NativeOps
from benchmarks.plaster.page import panels, render_study
from benchmarks.plaster.study import STUDY_FILE, Study, Variant
from benchmarks.plaster.text import show_study
from benchmarks.published.results import published_results
from benchmarks.report.model import OutputFidelity, Plaster
from benchmarks.timing.bursts import Ratio
from benchmarks.timing.conditions import Conditions
from benchmarks.timing.steady import Outlier, Spread, Steadiness
from graphs.files import read_json, write_json
from tests.benchmarks.report.browser import needs_chromium, opened
from tests.benchmarks.report.outline import HOSTILE, outline

NAMES = {"fp32": "FP32", "fp16": "FP16", "int8": "INT8", "int8-2:4": "INT8 + 2:4"}
QUIET = Conditions("EPYC", 2, 0.4, 2000.0, 51.0, "performance")


def _variant(name: str, speed: float, metric: float) -> Variant:
    latency = summarize_latency(0.02 / speed * (1 + 0.02 * np.random.default_rng(0).standard_normal(200)))
    task = TaskAccuracy("top-1", 0.7646, metric, 0.7646 - metric, (0.0, 0.004), 50_000)
    energy = Energy(None, None, 0.0, "not measurable here: no RAPL counter")
    plaster = Plaster(
        figures.programmability({name: NativeOps(120, 120)}, []),
        figures.latency(None, latency, 15.0),
        figures.accuracy(None, task, 500, "measured"),
        figures.size(102_000_000, int(102e6 / speed), EngineMemory(int(2e8 / speed), None)),
        figures.throughput(None, 60 * speed, 8),
        figures.energy(energy),
        figures.rate_of_learning(Learning(20.0 * speed, cached=0.5)),
    )
    outputs = {"logits": OutputFidelity(0.999, 30.0, 0.1, 0.99)}
    dtype = name.partition("-")[0]
    return Variant(name, NAMES[name], dtype, f"{NAMES[name]} here", plaster, latency, 60 * speed, 8, outputs, task)


@pytest.fixture(scope="module")
def study() -> Study:
    speeds = {"fp32": (1.0, 0.7646), "fp16": (1.6, 0.7645), "int8": (3.1, 0.7601), "int8-2:4": (3.2, 0.7433)}
    spreads = {name: Spread(0.02, 40, 12, 1, [Outlier(0.8, 31.0, 4.1)]) for name in NAMES}
    ratios = {name: Ratio(speed, speed * 0.96, speed * 1.05, 40) for name, (speed, _) in list(speeds.items())[1:]}
    steady = Steadiness(True, [], "fp32", spreads, ratios, QUIET, QUIET)
    return Study(
        model="resnet50.onnx",
        digest="c0c3f76d93fa3fd6580652a45618618a220fced18babf65774ed169de0432ad5",
        model_bytes=102_000_000,
        target="cpu",
        variants=[_variant(name, *values) for name, values in speeds.items()],
        steadiness={"latency": steady, "throughput": steady},
        samples=500,
        data="crops/",
        calibrated=True,
        bound_ms=15.0,
        task="resnet50",
        published=published_results("resnet50"),
        machine={"cpu": "EPYC"},
        versions={"onnxruntime": "1.23"},
        command="optimize plaster resnet50.onnx --task resnet50",
    )


@pytest.fixture(scope="module")
def drawn(study: Study) -> str:
    """Its page."""
    return render_study(study)


def test_a_study_comes_back_equal(study: Study, tmp_path: Path) -> None:
    write_json(tmp_path / STUDY_FILE, study)
    assert read_json(tmp_path / STUDY_FILE, Study) == study


def test_the_picture_compares_every_variant_on_every_axis(study: Study, drawn: str) -> None:
    found = panels(study.variants)
    assert [bar.name for bar in found[0].bars] == list(NAMES.values())
    assert "top-1 (more is better)" in found[0].title
    assert drawn.count('<svg class="chart"') == 3
    for text in ("FP16", "INT8 + 2:4", "0.7601"):
        assert text in drawn


def test_published_results_are_lines_of_the_same_task_only(study: Study, drawn: str) -> None:
    page = " ".join(outline(drawn).text)
    for text in ("A100-SXM-80GB", "T4", "A30", "Xavier NX", "39,830", "v0.7", "no MLPerf result"):
        assert text in page
    alone = " ".join(outline(render_study(dataclasses.replace(study, task="", published=[]))).text)
    assert "A100" not in alone and "Beside published results" not in alone


def test_all_that_are_best_are_marked_and_the_rest_not(drawn: str) -> None:
    row = drawn[drawn.index(">A</b>ccuracy") : drawn.index(">S</b>ize")]
    assert row.count('<td class="n"><b>') == 1
    native = drawn[drawn.index(">P</b>rogrammability") : drawn.index(">L</b>atency")]
    assert '<td class="n"><b>' not in native, "all are equal"


def test_noisy_timings_have_no_best(study: Study, drawn: str) -> None:
    noisy = dataclasses.replace(study.steadiness["latency"], trusted=False, reasons=["bursts vary by 31.0% (int8)"])
    page = render_study(dataclasses.replace(study, steadiness={**study.steadiness, "latency": noisy}))
    timed = page[page.index(">T</b>hroughput") : page.index(">E</b>nergy")]
    assert '<td class="n"><b>' not in timed
    assert '<td class="n"><b>' in drawn[drawn.index(">T</b>hroughput") : drawn.index(">E</b>nergy")]


def test_noise_is_said_in_the_header(study: Study, drawn: str) -> None:
    noisy = dataclasses.replace(study.steadiness["latency"], trusted=False, reasons=["bursts vary by 31.0% (int8)"])
    page = render_study(dataclasses.replace(study, steadiness={"latency": noisy}))
    assert "Timings too noisy to trust" in page and "bursts vary by 31.0% (int8)" in page
    assert "too noisy" not in drawn


def test_names_are_text_and_nothing_runs(study: Study) -> None:
    page = outline(render_study(dataclasses.replace(study, model=HOSTILE, data=HOSTILE, command=HOSTILE)))
    assert not {"script", "img", "iframe"} & set(page.tags)
    assert len(page.ids) == len(set(page.ids))


def test_the_terminal_shows_the_seven_and_the_interval(study: Study) -> None:
    stream = io.StringIO()
    show_study(study, Console(file=stream, width=100), Path("resnet50.plaster"))
    text = stream.getvalue()
    assert "Rate of learning, s" in text and "INT8 + 2:4" in text
    assert "int8: 3.10x of fp32 (95 % interval 2.98 to " in text
    assert "energy: not measurable here" in text


@needs_chromium
@pytest.mark.parametrize("width", [400, 1280])
def test_the_study_fits_and_its_charts_are_readable(drawn: str, tmp_path: Path, width: int) -> None:
    seen = opened(drawn, tmp_path, width)
    assert seen["content"] <= seen["width"]
    assert len(seen["charts"]) == 3
    assert min(seen["charts"]) >= 340
    assert seen["text"] >= 9
