"""The page says what the cells say, and says so where there is nothing to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphs.files import write_json
from studies.baselines.results import Cell, Cost, Evaluation, Machine, Quality, read_cells
from studies.baselines.write import best_baseline, model_part, overview, page, survival, table

MACHINE = Machine("Some CPU", 2, 0.5, {"onnxruntime": "1.2.3"}, "2026-01-02")


def evaluation(sqnr: float, share: float = 1.0, metric: float = 0.9, speedup: float | None = 1.5) -> Evaluation:
    quality = Quality(sqnr, 0.99, "argmax")
    return Evaluation("top-1", metric, 0.91, "simulated", 64, quality, quality, share, True, 3.0, speedup)


def cell(tool: str, configuration: str, item: Evaluation | None, error: str = "", model: str = "minilm") -> Cell:
    return Cell(model, tool, configuration, False, MACHINE, Cost(1.25, 80.0, 128), item, error)


def test_best_baseline_runs_at_least_as_many_macs_in_int8() -> None:
    baselines = {
        ("modelopt", "max"): evaluation(36.6, share=0.5),
        ("nncf", "mixed"): evaluation(21.4, share=1.0),
        ("nncf", "performance"): evaluation(22.1, share=0.9),
    }
    assert best_baseline(baselines, 0.9) == ("nncf", "performance")
    assert best_baseline(baselines, 0.4) == ("modelopt", "max")
    assert best_baseline({}, 0.0) is None


def test_overview_shows_the_difference_to_the_best_baseline() -> None:
    cells = [
        cell("enginewright", "tensorrt", evaluation(24.0, share=0.95)),
        cell("enginewright", "cpu", evaluation(20.0, speedup=2.5)),
        cell("nncf", "mixed", evaluation(21.5, speedup=2.25)),
        cell("modelopt", "max", evaluation(30.0, share=0.5, speedup=None)),
    ]
    line = overview(cells, ["minilm"]).splitlines()[-1]
    assert line == (
        "| minilm | +0.0100 | 95.0% | 24.0 | 21.5 (nncf mixed) | **+2.5 dB** | 30.0 (modelopt max, 50%) | "
        "2.50×, 20.0 dB | 2.25×, 21.5 dB (nncf mixed) |"
    )


def test_overview_does_not_hide_a_loss() -> None:
    cells = [cell("enginewright", "tensorrt", evaluation(20.0)), cell("nncf", "mixed", evaluation(21.5))]
    assert "| -1.5 dB |" in overview(cells, ["minilm"])


def test_survival_names_models_that_broke_or_could_not_be_measured() -> None:
    cells = [
        cell("nncf", "mixed", evaluation(0.0, metric=0.2)),
        cell("nncf", "mixed", None, "quantization: ValueError", model="silero_vad"),
        cell("nncf", "mixed", evaluation(20.0), model="yolov3_tiny"),
    ]
    line = survival(cells, ["minilm", "silero_vad", "yolov3_tiny"]).splitlines()[-1]
    assert line == "| nncf | mixed | 3 of 7 | minilm, silero_vad | +0.7100 (minilm) |"


def test_a_failed_cell_shows_dashes_and_its_reason() -> None:
    sentence, rows, notes = model_part(
        [cell("nncf", "mixed", evaluation(20.0)), cell("modelopt", "max", None, "died | 9")]
    )
    assert "FP32 0.9100" in sentence
    assert next(line for line in rows.splitlines() if "modelopt" in line).count("–") == 8
    assert notes == "- modelopt max: died \\| 9"


def test_a_slow_cpu_form_says_what_ships() -> None:
    parts = model_part([cell("enginewright", "cpu", evaluation(20.0, speedup=0.8))])
    assert "ships the CPU engine as FP32" in parts[-1]


def test_a_quick_run_is_marked_and_models_not_run_are_named() -> None:
    text = page([Cell("minilm", "nncf", "mixed", True, MACHINE, None, None, "no")], "# Intro")
    assert text.startswith("# Intro")
    assert "not a measurement" in text
    assert "Not run: mobilenet_v2, fashion_resnet14" in text
    assert "2026-01-02, Some CPU, 2 cores" in text
    assert "onnxruntime 1.2.3" in text


def test_cells_are_read_back_as_written(tmp_path: Path) -> None:
    written = cell("nncf", "mixed", evaluation(20.0, speedup=None))
    (tmp_path / "minilm").mkdir()
    write_json(tmp_path / "minilm" / "nncf-mixed.cell.json", written)
    assert read_cells(tmp_path) == [written]


def test_table_refuses_a_row_of_another_length() -> None:
    with pytest.raises(ValueError, match="2 cells under 1"):
        table(["a"], [["1", "2"]])
