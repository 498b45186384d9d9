"""A build for a library without strong typing gets the lowered graph, verified, and what its nodes compute in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx_ir as ir
import pytest

from engines.build_request import BuildRequest
from engines.engine import TensorSpec
from engines.errors import BuildError, BuildFailure
from engines.profile import ShapeProfile
from engines.targets.target import TARGETS
from engines.tensorrt.capabilities import Capabilities
from engines.tensorrt.library import Library
from optimizer.events import Events, Note
from optimizer.settings.job import Settings
from optimizer.stages.engines import build
from optimizer.stages.engines.build import build_targets
from optimizer.stages.forms import lowering
from optimizer.tensorrt8.lowering import Lowered
from tests.optimizer.tensorrt8.lowering import model_of

TEXT = (
    "g (float[N, 3] x) => (float[N, 1] y) <int64[1] axes = {1}> { [gelu] a = Gelu(x) [mean] y = ReduceMean(a, axes) }"
)


class Samples:
    """Two samples of three numbers."""

    specs = (TensorSpec("x", "float32", ("N", 3)),)
    digest = description = "two samples"
    synthetic = False

    def samples(self) -> Iterator[dict[str, np.ndarray]]:
        for seed in range(2):
            yield {"x": np.random.default_rng(seed).normal(size=(1, 3)).astype(np.float32)}


@pytest.fixture
def weakly_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library(ModuleType("tensorrt"), "tensorrt", "8.5.3.1", Capabilities(strongly_typed=False))
    monkeypatch.setattr(lowering, "load_library", lambda _: library)


def request_for(text: str, folder: Path) -> BuildRequest:
    ir.save(model_of(text), folder / "model.onnx")
    out = folder / "out"
    return BuildRequest(folder / "model.onnx", TARGETS["a100"], ShapeProfile({}), out, "fp32", library="tensorrt")


def test_the_library_gets_the_graph_it_reads(tmp_path: Path, weakly_typed: None) -> None:
    asked, told = request_for(TEXT, tmp_path), list[str]()
    events = Events(lambda event: told.append(event.message) if isinstance(event, Note) else None)
    with lowering.readable(asked, Samples(), events) as request:
        lowered = ir.load(request.model)
        assert lowered.opset_imports[""] == 17
        assert all(node.op_type != "Gelu" for node in lowered.graph)
        assert request.node_types["gelu"] == request.node_types["mean"] == "fp32"
        assert set(request.node_types) <= {node.name for node in lowered.graph}
        assert replace(request, model=asked.model, node_types={}) == asked
    assert not request.model.exists(), "nothing is left behind"
    assert any("Gelu" in text for text in told)


def test_other_libraries_get_the_typed_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library(ModuleType("tensorrt"), "tensorrt", "10.13.0", Capabilities(strongly_typed=True))
    monkeypatch.setattr(lowering, "load_library", lambda _: library)
    asked = request_for(TEXT, tmp_path)
    with lowering.readable(asked, Samples(), Events(lambda _: None)) as request:
        assert request is asked


def test_a_graph_that_means_something_else_is_not_built(
    tmp_path: Path, weakly_typed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: ir.Model) -> Lowered:
        found = lower(model)
        mean = next(node for node in found.model.graph if node.name == "mean")
        mean.op_type = "ReduceMax"
        return found

    lower = lowering.lower_for_tensorrt8
    monkeypatch.setattr(lowering, "lower_for_tensorrt8", broken)
    opened = lowering.readable(request_for(TEXT, tmp_path), Samples(), Events(lambda _: None))
    with pytest.raises(BuildError, match="does not compute what model") as error, opened:
        raise AssertionError
    assert error.value.where == "mean" and "'lower'" in str(error.value)


def test_a_refusal_is_the_targets_outcome(tmp_path: Path, weakly_typed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is built, and the reason names the node."""
    monkeypatch.setattr(build, "build_engine", lambda *_: pytest.fail("asked for a build"))
    monkeypatch.setattr(lowering, "_capabilities", lambda _: Capabilities(strongly_typed=False))
    text = "g (float[2, 2] x) => (float y) { [volume] y = Det(x) }"
    asked = request_for(text, tmp_path)
    outcomes = build_targets(
        asked.model,
        [TARGETS["a100"], TARGETS["cpu"]],
        tmp_path,
        terms=build.Terms(Settings(), ShapeProfile({}), sparse_weights=False, held_back=Samples()),
        events=Events(lambda _: None),
    )
    assert [outcome.failure for outcome in outcomes] == [BuildFailure.UNSUPPORTED_OP]
    assert outcomes[0].reason.startswith("volume: TensorRT 8 cannot take it: the parser has no operator Det")


def test_a_parser_before_opset_21_gets_what_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library(ModuleType("tensorrt"), "tensorrt", "10.4.0", Capabilities(opset_21=False))
    monkeypatch.setattr(lowering, "load_library", lambda _: library)
    text = "g (float[N, 3] x) => (float[N, 4] y) <int64[1] a = {1}, int64[2] p = {0, 1}> { y = Pad(x, p, , a) }"
    asked = request_for(text, tmp_path)
    with lowering.readable(asked, Samples(), Events()) as request:
        assert len(ir.load(request.model).graph[-1].inputs) == 3 and not request.node_types
    plain = request_for("g (float[N, 3] x) => (float[N, 3] y) { y = Relu(x) }", tmp_path)
    with lowering.readable(plain, Samples(), Events()) as request:
        assert request is plain, "nothing to write otherwise"
