"""What is imported is verified against the file as given before anything else is done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from graphs.errors import BadInput, EnginewrightError
from optimizer import optimize
from optimizer.events import Event, Note
from optimizer.importing.adapters import ADAPTERS
from optimizer.importing.adapters.site import Site

RESIZE = """<ir_version: 5, opset_import: ["" : 10]> g (float[N, 1, 4, 4] x) => (float[N, 1, 8, 8] y)
<float[4] s = {1, 1, 2, 2}> { y = Resize <mode = "linear"> (x, s) }"""


def run(model: onnx.ModelProto | str, folder: Path, **arrays: np.ndarray) -> list[str]:
    """The notes of a run at FP32 for the CPU."""
    made = onnx.parser.parse_model(model) if isinstance(model, str) else model
    (folder / "m.onnx").write_bytes(made.SerializeToString())
    np.savez(folder / "data.npz", **arrays)  # type: ignore[arg-type]
    notes: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.message)

    optimize(
        folder / "m.onnx",
        precision="fp32",
        targets=["cpu"],
        data=str(folder / "data.npz"),
        loadgen=(),
        out=folder / "bundle",
        listeners=[hear],
    )
    return notes


def test_a_conversion_that_changes_the_meaning_ends_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As onnx's own converter does it: half_pixel, where opset 10 means asymmetric."""

    def careless(site: Site) -> None:
        site.become("Resize", [site.data(), None, site.input(1)], mode="linear")

    monkeypatch.setitem(ADAPTERS["Resize"], 11, (careless,))
    x = np.random.default_rng(0).standard_normal((8, 1, 4, 4)).astype(np.float32)
    with pytest.raises(EnginewrightError, match="importing the model changed what it computes: output 'y' differs"):
        run(RESIZE, tmp_path, x=x)


def test_a_file_that_no_runtime_opens_is_judged_as_imported(tmp_path: Path) -> None:
    text = """<ir_version: 3, opset_import: ["" : 6]> g (float[4, 3] x, float[3, 3] w) => (float[4, 3] y) {
        m = MatMul(x, w)  y = Add <broadcast = 1, axis = 0> (m, b)  b = Constant <value = float[4] {1, 2, 3, 4}> () }"""
    g = np.random.default_rng(0)
    notes = run(text, tmp_path, x=g.standard_normal((4, 3)).astype(np.float32), w=np.eye(3, dtype=np.float32))
    assert any("does not run the file as given" in note for note in notes)


def test_digits_that_float32_has_not_are_warned_of(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (double[N, 3] x) => (double[N, 3] y)
    <double k = {1e9}> { a = Add(x, k)  y = Sub(a, k) }"""
    notes = run(text, tmp_path, x=np.random.default_rng(0).standard_normal((8, 3)))
    assert any("does not compute in FP32 what it does in its own float type" in note for note in notes)


def test_a_model_that_answers_nothing_but_nan_is_bad_input(tmp_path: Path) -> None:
    """It was taken for a fault of the import."""
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 3] x) => (float[N, 3] y, float[N, 3] z) {
        a = Sqrt(x)  y = Neg(a)  z = Abs(x) }"""
    with pytest.raises(BadInput, match=r"output 'y' of the model as given is NaN throughout the 4 samples"):
        run(text, tmp_path, x=-1 - np.random.default_rng(0).random((8, 3), np.float32))


@pytest.mark.parametrize("opset", [6, 17])
def test_numbers_that_float32_has_not_are_bad_input(opset: int, tmp_path: Path) -> None:
    """ONNX Runtime runs no file of opset 6: what was imported is then run in float64 first."""
    text = f"""<ir_version: 3, opset_import: ["" : {opset}]> g (double[N, 3] x, double[N, 3] k) => (double[N, 3] y) {{
        a = Mul(x, k)  y = Div(a, k) }}"""
    x = np.random.default_rng(0).standard_normal((8, 3))
    assert run(text, tmp_path, x=x, k=x)
    with pytest.raises(BadInput, match=r"output 'y' is NaN or infinite(.|\n)*float64 is finite"):
        run(text, tmp_path, x=x, k=np.full_like(x, 1e200))


def test_types_that_do_not_fit_are_bad_input(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 3] x) => (float[N, 3] y) <int64[3] w = {1, 2, 3}> {
        y = Add(x, w) }"""
    with pytest.raises(BadInput, match=r"does not run it(.|\n)*Add"):
        run(text, tmp_path, x=np.zeros((8, 3), np.float32) + 1)
