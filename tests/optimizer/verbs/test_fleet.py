"""optimize fleet on this machine: what becomes of each model."""

from __future__ import annotations

import io
import json
from pathlib import Path

import onnx
import pytest
from rich.console import Console

from graphs.errors import BadInput
from optimizer.cli.main import main
from optimizer.settings.job import Settings
from optimizer.verbs.fleet import Fleet, FleetModel, render, run_fleet
from tests.end_to_end.conftest import cnn

HERE = Settings(targets=("cpu",), loadgen=())


def test_a_model_that_fails_does_not_end_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(cnn(), tmp_path / "net.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    words = ["--target", "cpu", "--precision", "fp32", "--loadgen", "none", "--quiet", "-o", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main(["fleet", str(tmp_path / "bad.onnx"), str(tmp_path / "net.onnx"), *words])
    assert ended.value.code == 2
    bad, net = json.loads((tmp_path / "out" / "fleet.json").read_text())["models"]
    assert bad["status"] == "failed" and "not an ONNX file" in bad["error"] and bad["bundle"] is None
    assert net["status"] == "ok" and net["engines"] == {"cpu": "measured"}
    assert (tmp_path / "out" / net["bundle"] / "manifest.json").is_file()
    assert "not an ONNX file" in capsys.readouterr().out


def test_models_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.onnx").write_bytes(b"")
    found = run_fleet([tmp_path / "a" / "model.onnx", tmp_path / "b" / "model.onnx"], HERE, tmp_path / "out")
    assert [row.status for row in found.models] == ["failed", "failed"] and found.exit_code == 2
    with pytest.raises(BadInput, match="two models would be called 'a-model'"):
        run_fleet([tmp_path / "a" / "model.onnx", tmp_path / "b" / "a" / "model.onnx"], HERE, tmp_path / "out")
    with pytest.raises(BadInput, match=r"a/model.onnx: given twice"):
        run_fleet([tmp_path / "a" / "model.onnx"] * 2, HERE, tmp_path / "out")


def test_why_an_engine_is_missing_is_printed() -> None:
    console = Console(record=True, width=100, file=io.StringIO())
    engines = {"cpu": "measured", "b200": "skipped"}
    render(
        Fleet([FleetModel("a.onnx", "a", "partial", engines, 1.0, "", 4, {"b200": "no B200"})], list(engines)), console
    )
    assert "a.onnx: no engine for b200: no B200" in console.export_text()
