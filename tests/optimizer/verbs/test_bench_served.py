"""``bench --triton`` measures the bundle's model, or says in one error that the server has another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphs.errors import BadInput
from graphs.files import write_json
from optimizer.bundle import BundleManifest
from optimizer.cli.main import main
from optimizer.precision import Dtype, NodePrecision, PrecisionPlan
from optimizer.verbs.bench.served import check_served
from optimizer.verbs.bench.subject import find_subject
from tests.deployment.serving.conftest import HEAD, Running, serving, times, write_bundle

OTHERS = {
    "more": (HEAD + "g (float[n, 5] x) => (float[n, 5] y) { y = Neg(x) }", "its input 'x' has shape [batch, 5]"),
    "named": (HEAD + "g (float[n, 4] z) => (float[n, 4] y) { y = Neg(z) }", "its inputs are 'z', not 'x'"),
    "typed": (HEAD + "g (double[n, 4] x) => (double[n, 4] y) { y = Neg(x) }", "its input 'x' is float64, not float32"),
    "outputs": (
        HEAD + "g (float[n, 4] x) => (float[n, 4] y, float[n, 4] w) { y = Neg(x) w = Abs(x) }",
        "its outputs are 'w', 'y', not 'y'",
    ),
    "answers": (times(2.2), "its answers in 'y' differ (SQNR 20.0 dB)"),
}  # fmt: skip


def bundle(folder: Path, text: str) -> Path:
    write_bundle(folder, text, None)
    write_json(folder / "report.json", find_subject(folder / "model.onnx", "cpu").report)
    write_json(folder / "precision.json", PrecisionPlan({"y": NodePrecision(Dtype.FP32, "", "Mul", 0)}))
    write_json(folder / "manifest.json", BundleManifest("", "", "", "", {}))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(tmp_path_factory.mktemp("served") / "own", times(2.0))


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = HEAD + "g (float[n, 4] x) => (int64[n] y) { y = ArgMax <axis = 1, keepdims = 0> (x) }"
    return bundle(tmp_path_factory.mktemp("counting") / "counting", text)


@pytest.fixture(scope="module")
def running(place: Path, counting: Path) -> Iterator[Running]:
    others = {name: [write_bundle(place.parent / name, text, None)] for name, (text, _) in OTHERS.items()}
    with serving({"own": [place], "counting": [counting], **others}) as server:
        yield server


def test_the_bundles_own_model_is_measured(place: Path, running: Running, capfd: pytest.CaptureFixture[str]) -> None:
    for path in (place, place / "model.onnx"):
        with pytest.raises(SystemExit) as exit_:
            main(["bench", str(path), "--triton", f"{running.grpc}/own", "--duration", "0.3", "--json"])
        assert exit_.value.code in (0, None)
        assert "not compared" not in json.dumps(json.loads(capfd.readouterr().out)["loadgen"])


@pytest.mark.parametrize("name", OTHERS)
def test_another_is_refused(
    name: str, place: Path, running: Running, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["bench", str(place), "--triton", f"{running.grpc}/{name}", "-o", str(tmp_path / "logs"), "--json"])
    said = capfd.readouterr()
    assert (exit_.value.code, said.out) == (2, "")
    assert f"--triton {running.grpc}/{name}: serves another model than {place}: {OTHERS[name][1]}" in said.err
    assert not (tmp_path / "logs").exists()


def test_a_form_that_another_engine_was_built_from_may_be_served(place: Path, running: Running, tmp_path: Path) -> None:
    """The server may have the GPU's engine, whose graph rounds otherwise than the CPU's."""
    several = bundle(tmp_path / "several", times(2.0))
    write_bundle(tmp_path / "typed", times(2.2), None)
    shutil.copytree(several / "engines" / "cpu", several / "engines" / "t4")
    with pytest.raises(BadInput, match="answers in 'y' differ"):
        check_served(several, f"grpc://{running.grpc}/answers")
    shutil.copy(tmp_path / "typed" / "model.onnx", several / "model.onnx")
    assert not check_served(several, f"grpc://{running.grpc}/answers")
    assert not check_served(several, f"grpc://{running.grpc}/own")


def test_what_cannot_be_compared_is_told(place: Path, counting: Path, running: Running, tmp_path: Path) -> None:
    (told,) = check_served(counting, f"grpc://{running.grpc}/counting")
    assert told.startswith("the served model's answers in 'y' were not compared: ")
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(place, elsewhere)
    (elsewhere / "engines" / "cpu").rename(elsewhere / "engines" / "t4")
    manifest = json.loads((elsewhere / "engines" / "t4" / "engine.json").read_text())
    manifest |= {"backend": "tensorrt", "backend_version": "10.0.0", "compute_capability": [7, 5], "target": "t4"}
    write_json(elsewhere / "engines" / "t4" / "engine.json", manifest)
    (told,) = check_served(elsewhere, f"grpc://{running.grpc}/answers")
    assert told.startswith("the served model's answers were not compared with the bundle's: ")
    (told,) = check_served(place.parent, f"grpc://{running.grpc}/own")
    assert "holds several graphs" in told
