"""Small ONNX models as text, and a cache of each test's own."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx.parser
import pytest

from engines.profile import ShapeProfile, ShapeRange

HEADER = '<ir_version: 9, opset_import: ["" : 17]>\n'

TWO_LAYERS = """
agraph (float[batch,3,8,8] x) => (float[batch,4,8,8] y)
<float[4,3,3,3] w = {%s}, float[4] b = {0.1, 0.2, 0.3, 0.4}> {
    [conv1] c = Conv<pads=[1,1,1,1]>(x, w, b)
    [relu1] y = Relu(c)
}
""".replace("%s", ", ".join(str((i % 7 - 3) / 10) for i in range(108)))

MATMUL = """
agraph (float[batch,4] x) => (float[batch,8] y)
<float[4,8] w = {%s}> {
    [fc] h = MatMul(x, w)
    [act] y = Relu(h)
}
""".replace("%s", ", ".join(str((i % 5 - 2) / 10) for i in range(32)))

SaveModel = Callable[..., Path]


@pytest.fixture
def save_model(tmp_path: Path) -> SaveModel:
    def save(text: str, name: str = "model.onnx", header: str = HEADER) -> Path:
        path = tmp_path / name
        path.write_bytes(onnx.parser.parse_model(header + text).SerializeToString())
        return path

    return save


@pytest.fixture
def conv_model(save_model: SaveModel) -> Path:
    return save_model(TWO_LAYERS)


@pytest.fixture
def matmul_model(save_model: SaveModel) -> Path:
    return save_model(MATMUL, "matmul.onnx")


@pytest.fixture
def conv_profile() -> ShapeProfile:
    return ShapeProfile({"x": ShapeRange((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))})


@pytest.fixture
def matmul_profile() -> ShapeProfile:
    return ShapeProfile({"x": ShapeRange((1, 4), (2, 4), (4, 4))})


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINEWRIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def rtx() -> None:
    """Skip where TensorRT-RTX is not installed (the ``rtx`` extra)."""
    if importlib.util.find_spec("tensorrt_rtx_bindings") is None and importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("TensorRT-RTX is not installed")
