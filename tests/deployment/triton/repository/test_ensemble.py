"""Functions around a model: what they take and give is found out on samples, and what the model cannot take is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from deployment.triton.repository.ensemble import Around
from deployment.triton.repository.write import write_triton_repository
from engines.engine import TensorSpec
from engines.profile import ShapeProfile
from graphs.errors import BadInput
from tests.deployment.triton.triton_proto import parse

AddEngine = Callable[..., Path]
LINEAR = """
<ir_version: 9, opset_import: ["" : 17]>
linear (float[n, 2] x) => (float[n, 2] y) <float[2, 2] w = {1, 2, 3, 4}> { y = MatMul (x, w) }
"""
INPUT = (TensorSpec("x", "float32", ("n", 2), batch=True),)


@pytest.mark.parametrize("arrays", [{"a": (2, 3), "b": (3, 3)}, {"a": ()}, {"a": (0, 3)}, {}], ids=str)
def test_raw_samples_lie_along_one_axis(
    bundle: Path, add_engine: AddEngine, tmp_path: Path, arrays: dict[str, tuple[int, ...]]
) -> None:
    engine = add_engine("cpu", "onnxruntime", INPUT, INPUT, profile=ShapeProfile({}))
    onnx.save(onnx.parser.parse_model(LINEAR), engine / "model.onnx")
    (tmp_path / "f.py").write_text("def g(feed):\n    return feed\n")
    around = Around(f"{tmp_path / 'f.py'}:g", "", {name: np.ones(shape) for name, shape in arrays.items()})
    with pytest.raises(BadInput, match="as many rows along axis 0"):
        write_triton_repository(bundle, tmp_path / "repo", name="net", around=around)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("list(feed)", "returned a list"),
        ("{'x': 1.0}", "returned a float as 'x'\n.*\nfix: np.asarray"),
        ("{'x': feed['a'][:1]}", r"'x' has shape \[1, 2\] for 2 samples"),
        ("{'z': feed['a']}", "input 'x': missing"),
        ("1 / 0", "raised ZeroDivisionError"),
    ],
)
def test_what_a_function_gives_that_the_model_cannot_take_is_told(
    given: str, told: str, bundle: Path, add_engine: AddEngine, tmp_path: Path
) -> None:
    engine = add_engine("cpu", "onnxruntime", INPUT, INPUT, profile=ShapeProfile({}))
    onnx.save(onnx.parser.parse_model(LINEAR), engine / "model.onnx")
    (tmp_path / "f.py").write_text(f"def g(feed):\n    return {given}\n")
    around = Around(f"{tmp_path / 'f.py'}:g", "", {"a": np.ones((2, 2), np.float32)})
    with pytest.raises(BadInput, match=told):
        write_triton_repository(bundle, tmp_path / "repo", name="net", around=around)
    assert not (tmp_path / "repo").exists()


def test_sizes_in_which_samples_differ_are_free_and_tensors_without_a_function_are_the_models(
    bundle: Path, add_engine: AddEngine, tmp_path: Path
) -> None:
    ids = (TensorSpec("ids", "int64", ("n", "length"), batch=True),)
    sums = (TensorSpec("sums", "int64", ("n", "length"), batch=True),)
    engine = add_engine("cpu", "onnxruntime", ids, sums, profile=ShapeProfile({}))
    onnx.save(
        onnx.parser.parse_model(
            """<ir_version: 9, opset_import: ["" : 17]>
            g (int64[n, length] ids) => (int64[n, length] sums) { sums = Add(ids, ids) }"""
        ),
        engine / "model.onnx",
    )
    (tmp_path / "f.py").write_text(
        "import numpy as np\n"
        "def read(feed):\n"
        "    return {'ids': feed['codes'].astype(np.int64) + np.array([[len(w[0])] for w in feed['word']])}\n"
    )
    first, second = (
        {"codes": np.zeros((1, size), np.uint8), "word": np.array([["ab"]]), "kind": np.zeros((1, 4), np.int32)}
        for size in (3, 5)
    )
    around = Around(f"{tmp_path / 'f.py'}:read", "", first, more=(second,))
    *_, ensemble = write_triton_repository(bundle, tmp_path / "repo", name="net", around=around)
    assert ensemble.pipeline is not None and len(ensemble.pipeline.more) == 1
    config = parse(tmp_path / "repo/net/config.pbtxt")
    found = {tensor.name: list(tensor.dims) for tensor in (*config.input, *config.output)}
    assert found == {"codes": [-1], "word": [1], "kind": [4], "sums": [-1]}
    assert 'name: "word"\n  data_type: TYPE_STRING\n' in (tmp_path / "repo/net/config.pbtxt").read_text()
    for wrong in ({**second, "codes": np.zeros((1, 5), np.int16)}, {"codes": second["codes"], "word": second["word"]}):
        with pytest.raises(BadInput, match="differ in more than sizes"):
            write_triton_repository(bundle, tmp_path / "no", name="net", around=replace(around, more=(wrong,)))
