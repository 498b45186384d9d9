"""Settings go into a manifest and come back; what no text names is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphs.errors import BadInput
from graphs.files import read_json, write_json
from optimizer.demo import fashion
from optimizer.settings.asked_plan import AskedPlan
from optimizer.settings.job import Settings
from optimizer.settings.options import Precision, Sparsity
from optimizer.settings.recorded import RecordedSettings


def there_and_back(settings: Settings, folder: Path) -> RecordedSettings:
    write_json(folder / "settings.json", RecordedSettings.of(settings))
    return read_json(folder / "settings.json", RecordedSettings)


def test_they_come_back(tmp_path: Path) -> None:
    settings = Settings(
        precision=Precision.AUTO,
        targets=("cpu", "t4"),
        data="calib/",
        max_drop=0.01,
        sparsity=Sparsity.TWO_FOUR,
        loadgen=(),
        builder_options=("refit=on",),
        plan=AskedPlan.of({"conv": "fp16"}),
        samples=64,
    )
    assert there_and_back(settings, tmp_path).settings("B", {}) == settings
    assert there_and_back(Settings(), tmp_path) == RecordedSettings({})


def test_functions_are_recorded_by_name(tmp_path: Path) -> None:
    settings = Settings(data=fashion.calibration, evaluate=fashion.top1)
    read = there_and_back(settings, tmp_path).settings("B", {})
    assert (read.data, read.evaluate) == ("optimizer.demo.fashion:calibration", "optimizer.demo.fashion:top1")


def test_what_has_no_name_is_asked_for(tmp_path: Path) -> None:
    recorded = there_and_back(Settings(data=lambda: iter(())), tmp_path)
    with pytest.raises(BadInput, match="a data that is a function without a name") as error:
        recorded.settings("old.optimized", {})
    assert "--data" in str(error.value) and "old.optimized" in str(error.value)
    assert recorded.settings("old.optimized", {"data": "calib/"}).data == "calib/"


def test_a_setting_of_another_version_is_refused() -> None:
    with pytest.raises(BadInput, match="knows no setting 'sparkle'"):
        RecordedSettings({"sparkle": 1}).settings("old.optimized", {})
    with pytest.raises(BadInput, match=r"old.optimized: its settings are not what `optimize` writes"):
        RecordedSettings({"shapes": 5}).settings("old.optimized", {})
