"""Bad input: one clear error, exit code 2, nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from optimizer.cli.main import main
from tests.end_to_end.conftest import Command, cnn

Spoil = Callable[[Path], tuple[str, ...]]
MODEL = ("cnn.onnx", "--data", "data.npz")


def not_onnx(folder: Path) -> tuple[str, ...]:
    (folder / "cnn.onnx").write_text("I am a recipe for bread, not a graph.")
    return MODEL


def truncated(folder: Path) -> tuple[str, ...]:
    content = (folder / "cnn.onnx").read_bytes()
    (folder / "cnn.onnx").write_bytes(content[: len(content) // 2])
    return MODEL


def empty(folder: Path) -> tuple[str, ...]:
    (folder / "cnn.onnx").write_bytes(b"")
    return MODEL


def missing(folder: Path) -> tuple[str, ...]:
    (folder / "cnn.onnx").unlink()
    return MODEL


def missing_external_data(folder: Path) -> tuple[str, ...]:
    onnx.save(cnn(), folder / "cnn.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    (folder / "weights.bin").unlink()
    return MODEL


def escaping_external_data(folder: Path) -> tuple[str, ...]:
    model = cnn()
    onnx.external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data[0].value = "../../etc/passwd"
    (folder / "cnn.onnx").write_bytes(model.SerializeToString())
    return MODEL


def _data(folder: Path, **arrays: np.ndarray) -> tuple[str, ...]:
    np.savez(folder / "data.npz", **arrays)
    return MODEL


def wrong_shape(folder: Path) -> tuple[str, ...]:
    return _data(folder, input=np.zeros((4, 3, 16, 15), np.float32))


def wrong_dtype(folder: Path) -> tuple[str, ...]:
    return _data(folder, input=np.full((4, 3, 16, 16), "x"))


def wrong_name(folder: Path) -> tuple[str, ...]:
    return _data(folder, picture=np.zeros((4, 3, 16, 16), np.float32))


def nan_in_data(folder: Path) -> tuple[str, ...]:
    samples = np.zeros((4, 3, 16, 16), np.float32)
    samples[2, 1, 0, 0] = np.nan
    return _data(folder, input=samples)


def empty_folder(folder: Path) -> tuple[str, ...]:
    (folder / "nothing").mkdir()
    return ("cnn.onnx", "--data", "nothing")


def unknown_target(folder: Path) -> tuple[str, ...]:
    return (*MODEL, "--target", "k80")


def min_above_max(folder: Path) -> tuple[str, ...]:
    return (*MODEL, "--shape", "input=8x3x16x16:4x3x16x16:2x3x16x16")


def unknown_shape_input(folder: Path) -> tuple[str, ...]:
    return (*MODEL, "--shape", "image=1x3x16x16")


def op_the_only_target_cannot_run(folder: Path) -> tuple[str, ...]:
    text = """
    <ir_version: 9, opset_import: ["" : 17]>
    det (float[batch, 4, 4] input) => (float[batch] y) { y = Det (input) }
    """
    onnx.save(onnx.parser.parse_model(text), folder / "cnn.onnx")
    np.savez(folder / "data.npz", input=np.random.default_rng(0).standard_normal((8, 4, 4)).astype(np.float32))
    return (*MODEL, "--target", "t4")


def no_target_named(folder: Path) -> tuple[str, ...]:
    return (*MODEL, "--target", "")


def data_that_names_no_function(folder: Path) -> tuple[str, ...]:
    (folder / "feed.py").write_text("def data():\n    return []\n")
    return (*MODEL, "--data", "feed.py")


def unwritable_output(folder: Path) -> tuple[str, ...]:
    (folder / "file").write_text("in the way")
    return (*MODEL, "-o", "file/out")


def output_that_is_no_bundle(folder: Path) -> tuple[str, ...]:
    (folder / "precious").mkdir()
    (folder / "precious" / "thesis.txt").write_text("do not lose me")
    return (*MODEL, "-o", "precious")


def unknown_precision(folder: Path) -> tuple[str, ...]:
    return (*MODEL, "--precision", "int3")


def precision_the_target_lacks(folder: Path) -> tuple[str, ...]:
    return (*MODEL, "--precision", "fp8", "--target", "a100")


def missing_evaluate(folder: Path) -> tuple[str, ...]:
    return (*MODEL, "--evaluate", "nowhere.py:score")


CASES: dict[Spoil, str] = {
    not_onnx: "cnn.onnx",
    truncated: "cnn.onnx",
    empty: "empty",
    missing: "cnn.onnx",
    missing_external_data: "weights.bin",
    escaping_external_data: "passwd",
    wrong_shape: "input",
    wrong_dtype: "input",
    wrong_name: "picture",
    nan_in_data: "sample",
    empty_folder: "nothing",
    unknown_target: "k80",
    min_above_max: "min",
    no_target_named: "no --target at all",
    data_that_names_no_function: "feed.py:FUNCTION",
    unknown_shape_input: "image",
    op_the_only_target_cannot_run: "Det",
    unwritable_output: "file",
    output_that_is_no_bundle: "precious",
    unknown_precision: "int3",
    precision_the_target_lacks: "begin with Ada",
    missing_evaluate: "nowhere.py",
}


@pytest.mark.parametrize("spoil", CASES, ids=lambda spoil: spoil.__name__)
def test_one_clear_error_and_nothing_left(folder: Path, optimize: Command, spoil: Spoil) -> None:
    arguments = spoil(folder)
    before = sorted(p for p in folder.rglob("*") if ".cache" not in p.parts)
    done = optimize(*arguments, "--loadgen", "none")
    assert done.returncode == 2, done.stderr
    assert CASES[spoil] in done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("optimize:")]
    assert len(errors) == 1
    assert done.stdout == ""
    assert sorted(p for p in folder.rglob("*") if ".cache" not in p.parts) == before


def test_a_process_of_its_own_ends_in_the_same_way(folder: Path, process: Command) -> None:
    done = process(*nan_in_data(folder), "--loadgen", "none")
    assert (done.returncode, done.stdout) == (2, "") and "Traceback" not in done.stderr
    assert done.stderr.count("optimize: ") == 1 and CASES[nan_in_data] in done.stderr
    assert sorted(p.name for p in folder.iterdir() if p.name != ".cache") == ["cnn.onnx", "data.npz"]


def test_usage_error_is_exit_2(optimize: Command) -> None:
    assert optimize("cnn.onnx", "--no-such-option").returncode == 2
    with pytest.raises(SystemExit) as ended:
        main(["verfy", "cnn.optimized"])
    assert ended.value.code == 2


@pytest.mark.parametrize("stage", ["cleaning.save_model", "engines.cpu_engine.build_engine", "chain.write_pages"])
def test_a_full_disk_is_named_and_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.chdir(folder)
    monkeypatch.setenv("ENGINEWRIGHT_CACHE", str(folder / ".cache"))
    monkeypatch.setattr(f"optimizer.stages.{stage}", full)
    with pytest.raises(SystemExit) as exit_:
        main([*MODEL, "--loadgen", "none"])
    assert exit_.value.code == 2
    assert "no space left" in capsys.readouterr().err
    assert sorted(p.name for p in folder.iterdir() if p.name != ".cache") == ["cnn.onnx", "data.npz"]


def test_an_op_one_target_cannot_run_leaves_the_others(folder: Path, optimize: Command) -> None:
    arguments = op_the_only_target_cannot_run(folder)
    done = optimize(*arguments[:-1], "cpu,t4", "--loadgen", "none")
    assert done.returncode == 4, done.stderr
    report = json.loads((folder / "cnn.optimized" / "report.json").read_text())
    assert "Det" in report["targets"]["t4"]["reason"]
    assert report["targets"]["cpu"]["status"] == "measured"
