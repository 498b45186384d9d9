"""optimize compare: the second model against the first, on the same inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from graphs.errors import BadInput
from optimizer import optimize
from optimizer.cli.main import main
from optimizer.cli.output.printing import console
from optimizer.verbs.compare.sides import Comparison, compare_sides
from optimizer.verbs.compare.text import render
from optimizer.verbs.gates import gate, judge


def save(path: Path, *, gain: float = 1.0, name: str = "x", external: bool = False) -> Path:
    """y = x W, [batch, 64] to [batch, 64]."""
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32) * gain
    graph = f"g (float[b,64] {name}) => (float[b,64] y) {{ y = MatMul({name}, w) }}"
    text = f'<ir_version: 10, opset_import: ["" : 21]> {graph}'
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, path, save_as_external_data=external, location=f"{path.name}.data", size_threshold=0)
    return path


def compared(first: Path, second: Path, data: str = "random") -> Comparison:
    found = compare_sides(first, second, data, 4)
    assert found.accuracy is not None and found.first is not None and found.second is not None
    return found


def test_a_model_is_itself(tmp_path: Path) -> None:
    found = compared(save(tmp_path / "a.onnx"), save(tmp_path / "b.onnx"))
    assert found.accuracy is not None and found.accuracy.outputs["y"].agreement == 1.0
    assert found.accuracy.outputs["y"].max_abs == 0.0 and found.accuracy.samples == 4


def test_the_second_is_judged_by_the_first(tmp_path: Path) -> None:
    found = compared(save(tmp_path / "a.onnx"), save(tmp_path / "b.onnx", gain=1.1))
    assert found.accuracy is not None
    assert found.accuracy.outputs["y"].sqnr_db == pytest.approx(20.0, abs=0.01), "a tenth off is 20 dB"


def test_external_data_counts(tmp_path: Path) -> None:
    found = compared(save(tmp_path / "a.onnx"), save(tmp_path / "b.onnx", external=True))
    assert found.first is not None and found.second is not None
    assert found.second.bytes == pytest.approx(found.first.bytes, rel=0.05), "64 x 64 floats, wherever they lie"


def test_the_users_data_is_what_both_are_fed(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((3, 64), np.float32))
    found = compared(save(tmp_path / "a.onnx"), save(tmp_path / "b.onnx", gain=3.0), str(tmp_path / "data.npz"))
    assert found.accuracy is not None and found.accuracy.outputs["y"].max_abs == 0.0, "three times nothing is nothing"


def test_float_types_of_inputs_may_differ(tmp_path: Path) -> None:
    """A bundle made with --io-precision fp16 could not be compared with its model."""
    half = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float16[b,64] x) => (float16[b,64] y) '
        "{ f = Cast<to = 1>(x) p = MatMul(f, w) y = Cast<to = 10>(p) }"
    )
    half.graph.initializer.extend(onnx.load(save(tmp_path / "a.onnx")).graph.initializer)
    onnx.save(half, tmp_path / "half.onnx")
    for first, second in (("a.onnx", "half.onnx"), ("half.onnx", "a.onnx")):
        found = compared(tmp_path / first, tmp_path / second)
        assert found.accuracy is not None and 60 < found.accuracy.outputs["y"].sqnr_db < 90


def test_a_bundle_of_other_float_types_is_fed_in_its_own(tmp_path: Path) -> None:
    """What axis 0 counts was taken from the bundle, and with it the type that its model was fed in."""
    model = save(tmp_path / "a.onnx")
    made = {"precision": "fp32", "io_precision": "fp16", "targets": ["cpu"], "data": "random", "loadgen": []}
    bundle = optimize(model, out=tmp_path / "b", **made).bundle
    for first, second in ((model, bundle), (bundle, model)):
        found = compared(first, second)
        assert found.accuracy is not None and 60 < found.accuracy.outputs["y"].sqnr_db < 90


def test_integers_in_place_of_floats_are_refused(tmp_path: Path) -> None:
    text = '<ir_version: 10, opset_import: ["" : 21]> g (int64[b,64] x) => (float[b,64] y) { y = Cast<to = 1>(x) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "whole.onnx")
    with pytest.raises(BadInput, match="input 'x' is int64, and float32 of the first"):
        compared(save(tmp_path / "a.onnx"), tmp_path / "whole.onnx")


def test_other_inputs_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="take different inputs"):
        compare_sides(save(tmp_path / "a.onnx"), save(tmp_path / "b.onnx", name="z"), "random", 2)
    text = '<ir_version: 10, opset_import: ["" : 21]> g (float[b,32] x) => (float[b,32] y) { y = Relu(x) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "narrow.onnx")
    with pytest.raises(BadInput, match="in different shapes"):
        compare_sides(tmp_path / "a.onnx", tmp_path / "narrow.onnx", "random", 2)


def test_a_gate_decides_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = save(tmp_path / "a.onnx"), save(tmp_path / "b.onnx", gain=1.1)
    (tmp_path / "score.py").write_text(
        "import numpy as np\nfeed = {'x': np.ones((1, 64), 'f')}\n"
        "def score(infer):\n    return float(np.abs(infer(feed)['y']).sum())\n"
    )
    metric = ["--evaluate", f"{tmp_path / 'score.py'}:score"]
    assert _command([str(first), str(second), *metric, "--fail-if", "sqnr<19", "--fail-if", "metric>+11%"]) == 0
    assert _command([str(first), str(second), *metric, "--fail-if", "metric>+9%", "--fail-if", "size>+1%"]) == 3
    assert "FAIL metric>+9%" in capsys.readouterr().out


def test_a_gate_on_what_nobody_measures_is_refused_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    both = ["no such.onnx", "nor this.onnx"]
    assert _command([*both, "--fail-if", "metric<-1%"]) == _command([*both, "--fail-if", "p99>5%"]) == 2
    told = capsys.readouterr().err
    assert "--fail-if 'metric<-1%': no metric is asked of the two" in told and "--evaluate" in told
    assert "a percentage of what?" in told


def _command(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["compare", *arguments, "--samples", "4"])
    return int(ended.value.code or 0)


def test_where_nothing_could_run_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    gates = judge([gate("sqnr<40")], {}, {})
    render(Comparison(None, None, None, None, None, gates=gates), console())
    said = capsys.readouterr().out
    assert "no engine in common" in said and "FAIL sqnr<40: sqnr was not measured of the second" in said
