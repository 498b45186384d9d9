"""The unseen models: the split is a rule, every name has a recipe, and the page compares at equal share."""

from __future__ import annotations

from studies.baselines.names import HELD_OUT, TUNING, UNSEEN
from studies.baselines.results import Cell, Evaluation, Machine, Quality
from studies.baselines.unseen.recipes import RECIPES
from studies.baselines.unseen.write import page

MACHINE = Machine("cpu", 2, 0.0, {"onnx": "1"}, "2026-11-26")


def _cell(tool: str, configuration: str, sqnr: float, share: float) -> Cell:
    quality = Quality(sqnr, 1.0, "argmax")
    found = Evaluation("m", 1.0, 1.0, "simulated", 8, quality, quality, share, True, None, None)
    return Cell("magika", tool, configuration, False, MACHINE, evaluation=found)


def test_halves_are_apart_and_every_model_has_a_recipe() -> None:
    assert set(TUNING) | set(HELD_OUT) == set(UNSEEN) == set(RECIPES)
    assert not set(TUNING) & set(HELD_OUT)


def test_the_page_compares_with_baselines_of_as_many_macs() -> None:
    cells = [
        _cell("enginewright", "tensorrt", 35.0, 0.91),
        _cell("modelopt", "max", 20.0, 1.0),
        _cell("nncf", "mixed", 40.0, 0.3),
        Cell("magika", "onnxruntime", "minmax-s8", False, MACHINE, error="quantization: no"),
    ]
    text = page(cells, [_cell("enginewright", "tensorrt", 30.0, 0.91)], "intro")
    (row,) = (line for line in text.splitlines() if line.startswith("| magika | 8"))
    assert "30.0 at 91.0%" in row and "20.0 at 100.0% (modelopt max)" in row and "**+15.0 dB**" in row
    assert "40.0 at 30.0% (nncf mixed)" in row
    assert "- magika, onnxruntime minmax-s8: quantization: no" in text
