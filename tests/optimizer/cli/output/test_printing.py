"""Names are printed as they are, whatever a terminal library would read into them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from optimizer.cli.main import main

ODD = ("[/x]", "[bold]w", "mm[/bold]", "[/y]", ":bomb:")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """y = relu(x w) with names that read as markup and emoji."""
    source, weight, product, result, relu = ODD
    nodes = [
        helper.make_node("MatMul", [source, weight], ["h"], name=product),
        helper.make_node("Relu", ["h"], [result], name=relu),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, ["n", 64])],
        [numpy_helper.from_array(np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32), weight)],
    )
    monkeypatch.chdir(tmp_path)
    path = Path("m[red].onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


def printed(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    out, error = capfd.readouterr()
    assert not ended.value.code, error
    return "".join(out.split())  # a long path is broken where the line ends


def test_inspect(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = printed(capfd, "inspect", str(model), "--target", "a100", "--precision", "fp16")
    assert all(name in out for name in ("[/x]", "[/y]", "mm[/bold]", "m[red].onnx"))


def test_explain_and_compare(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bundle = "b[bold]"
    options = ["--precision", "fp32", "--target", "cpu", "--loadgen", "none", "--samples", "4", "-q"]
    assert "b[bold]" in printed(capfd, str(model), *options, "-o", bundle)
    out = printed(capfd, "explain", bundle)
    assert "mm[/bold]" in out and ":bomb:" in out
    assert ":bomb:" in printed(capfd, "explain", bundle, "--node", ":bomb:")
    out = printed(capfd, "compare", bundle, str(model), "--samples", "2")
    assert all(name in out for name in ("b[bold]", "m[red].onnx", "[/y]"))
