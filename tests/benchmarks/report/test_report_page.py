"""The page: self-contained, escaped, loud where it must be, silent about what was not measured."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.report.extras import DriftRow, Extras, NodeRow
from benchmarks.report.model import Report
from benchmarks.report.page import render_page
from benchmarks.timing.bursts import Ratio
from benchmarks.timing.conditions import Conditions
from benchmarks.timing.steady import Spread, Steadiness
from engines.layers import LayerInfo
from tests.benchmarks.report.outline import HOSTILE, outline


def test_every_element_is_closed_and_every_id_is_unique(report: Report, extras: Extras) -> None:
    ids = outline(render_page(report, extras)).ids
    assert len(ids) == len(set(ids))


def test_links_within_the_page_lead_somewhere(report: Report, extras: Extras) -> None:
    page = outline(render_page(report, extras))
    links = {
        value[1:] for name, value in page.attributes if name in ("href", "xlink:href") and value and value[0] == "#"
    }
    assert links
    assert links <= set(page.ids)


def test_nothing_is_fetched_and_nothing_runs(report: Report, extras: Extras) -> None:
    page = render_page(report, extras)
    parsed = outline(page)
    assert not {"script", "iframe", "img", "object"} & set(parsed.tags)
    assert not re.findall(r"@import|url\((?!#)", page)
    outside = [
        value
        for name, value in parsed.attributes
        if name in ("src", "href", "xlink:href") and value and not value.startswith(("#", "data:"))
    ]
    assert outside == []


def test_names_from_a_model_are_text(report: Report) -> None:
    hostile = dataclasses.replace(
        report,
        model=dataclasses.replace(report.model, name=HOSTILE),
        targets={HOSTILE: report.targets["t4"]},
        loadgen={HOSTILE: {HOSTILE: dataclasses.replace(report.loadgen["cpu"]["offline"], reasons=[HOSTILE])}},
        warnings=[HOSTILE],
        timings={HOSTILE: 1.0},
        machine={HOSTILE: HOSTILE},
        command=HOSTILE,
    )
    extras = Extras(
        nodes=[NodeRow(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 3)],
        drift=[DriftRow("first", "Conv", 40.0), DriftRow(HOSTILE, HOSTILE, 20.0)],
        layers={HOSTILE: [LayerInfo(HOSTILE, HOSTILE, (HOSTILE,), (), (), HOSTILE, (HOSTILE,))]},
    )
    parsed = outline(render_page(hostile, extras))
    assert not {"script", "img"} & set(parsed.tags)
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert any("<script>alert(1)</script>" in text for text in parsed.text)


def test_an_uncalibrated_int8_report_says_so_aloud(report: Report) -> None:
    page = render_page(dataclasses.replace(report, calibrated=False))
    assert 'role="alert"' in page
    assert "Not calibrated" in page
    assert "Not calibrated" not in render_page(report)


def test_calibration_is_no_matter_for_fp16(report: Report) -> None:
    precision = dataclasses.replace(report.precision, requested="fp16")
    assert "Not calibrated" not in render_page(dataclasses.replace(report, calibrated=False, precision=precision))


def test_a_bare_report_renders_and_says_what_is_missing(report: Report) -> None:
    bare = dataclasses.replace(
        report, accuracy=None, plaster=None, peak_rss_mb=None, targets={}, loadgen={}, timings={}, warnings=[]
    )
    text = " ".join(outline(render_page(bare)).text)
    for sentence in ("No target was built", "no latency was measured", "Not measured", "LoadGen was not run"):
        assert sentence in text


def test_commands_within_a_sentence_are_code_and_still_escaped(report: Report) -> None:
    page = render_page(dataclasses.replace(report, warnings=["run `optimize <b>x</b>` there"]))
    assert "<li>run <code>optimize &lt;b&gt;x&lt;/b&gt;</code> there</li>" in page


def test_a_latency_that_loadgen_estimated_is_told_from_the_samples_own(report: Report) -> None:
    assert "early-stopping estimate" in render_page(report)
    offline = {name: {"offline": runs["offline"]} for name, runs in report.loadgen.items() if "offline" in runs}
    assert offline and "early-stopping estimate" not in render_page(dataclasses.replace(report, loadgen=offline))


def test_a_speed_up_of_noisy_timings_says_so(report: Report) -> None:
    spread = Spread(0.3, 10, 5, 0, [])
    now = Conditions("cpu", 2, 9.0, None, None, "")
    noisy = Steadiness(False, ["load"], "fp32", {"int8": spread}, {"int8": Ratio(2.0, 1.2, 3.1, 9)}, now, now)
    (name, target), *_ = report.targets.items()
    target = dataclasses.replace(target, steadiness=noisy, kept_precision="int8", speedup_vs_fp32=99.0)
    page = render_page(dataclasses.replace(report, targets={name: target}))
    assert "noisy timings, not to be trusted alone; beside fp32 1.20× to 3.10×, 95 % interval" in page


def test_a_layer_that_fell_back_is_shown_and_opened(report: Report) -> None:
    nodes = [NodeRow("conv1", "Conv", "int8"), NodeRow("conv2", "Conv", "int8"), NodeRow("soft", "Softmax", "fp16")]
    layers = [
        LayerInfo("conv1", "Conv", ("int8",), (), ("int8",), "", ("conv1",)),
        LayerInfo("conv2", "Conv", ("float16",), (), ("int8",), "", ("conv2",)),
        LayerInfo("soft", "SoftMax", ("float16",), (), ("float16",), "", ("soft",)),
    ]
    page = render_page(report, Extras(nodes=nodes, layers={"t4": layers}))
    assert "3 layers · 1 in INT8 as planned" in page
    assert "1 fell back" in page
    assert page.index("no, planned") < page.index('<span class="good">yes</span>')


def test_an_exact_output_reads_exact(report: Report) -> None:
    assert report.accuracy is not None
    same = dataclasses.replace(report.accuracy.outputs["logits"], max_abs=0.0, sqnr_db=200.0)
    page = render_page(
        dataclasses.replace(report, accuracy=dataclasses.replace(report.accuracy, outputs={"logits": same}))
    )
    assert ">exact<" in page


def test_the_same_report_gives_the_same_page(report: Report, extras: Extras) -> None:
    assert render_page(report, extras) == render_page(report, extras)


def test_colours_come_from_the_style_sheet(report: Report, extras: Extras) -> None:
    page = render_page(report, extras)
    charts = re.findall(r'<svg class="chart".*?</svg>', page, re.DOTALL)
    assert len(charts) == 3
    style = page[page.index("<style>") : page.index("</style>")]
    for chart in charts:
        used = set(re.findall(r"var\((--[a-z0-9]+)\)", chart))
        assert used
        assert all(f"{variable}:" in style for variable in used)
        assert not re.findall(r"#0102\w\w", chart)


@pytest.mark.parametrize("module", ["benchmarks.report.page", "benchmarks.report.text"])
def test_matplotlib_is_not_imported_before_a_page_is_rendered(module: str) -> None:
    check = f"import sys, {module}; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@pytest.mark.parametrize("first", ["figure_svg(lambda figure: None, 'x')", "load_charts()"])
def test_a_home_that_cannot_be_written_costs_no_word(tmp_path: Path, first: str) -> None:
    """A service has none, and matplotlib told so in three lines and left a folder behind."""
    nowhere = tmp_path / "file"
    nowhere.touch()
    code = f"from benchmarks.report.charts import figure_svg, load_charts; {first}"
    environment = {name: value for name, value in os.environ.items() if name not in ("MPLCONFIGDIR", "XDG_CACHE_HOME")}
    environment |= {"HOME": str(nowhere), "XDG_CONFIG_HOME": str(nowhere), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == "" and [path.name for path in tmp_path.iterdir()] == ["file"]
