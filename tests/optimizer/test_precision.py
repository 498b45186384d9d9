"""The plan says what a graph computes in, and engines are labelled with that, never with what was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.accuracy.compare import Accuracy
from calibration.sources.open import open_source
from engines.build_request import BuildRequest
from engines.engine import TensorSpec
from engines.errors import BuildError, BuildFailure
from engines.manifest import EngineManifest
from engines.profile import ShapeProfile
from engines.progress import OnProgress
from engines.targets.target import TARGETS
from optimizer.events import Events
from optimizer.precision import Dtype, NodePrecision, PrecisionPlan
from optimizer.settings.job import Settings
from optimizer.settings.options import Precision
from optimizer.stages.engines import build
from optimizer.stages.forms.accuracy_check import AccuracyCheck
from optimizer.stages.forms.typed_forms import TypedForm


def plan(**nodes: tuple[Dtype, int]) -> PrecisionPlan:
    return PrecisionPlan({name: NodePrecision(dtype, "", "Conv", macs) for name, (dtype, macs) in nodes.items()})


def test_int8_wins_then_the_dtype_of_most_macs() -> None:
    assert plan(a=(Dtype.INT8, 1), b=(Dtype.FP16, 9)).computes_in == "int8"
    assert plan(a=(Dtype.FP32, 1), b=(Dtype.FP16, 9)).computes_in == "fp16"
    assert plan().computes_in == ""


@pytest.mark.parametrize("dtype", [Dtype.INT8, Dtype.FP16])
def test_an_engine_is_labelled_with_what_it_computes_in(dtype: Dtype, tmp_path: Path) -> None:
    asked: list[BuildRequest] = []

    def record(request: BuildRequest, _: OnProgress | None = None, /) -> EngineManifest:
        asked.append(request)
        raise BuildError(BuildFailure.OTHER, "recorded")

    settings = Settings(precision=Precision.AUTO, jobs=1)
    held_back = open_source("random", [TensorSpec("x", "float32", (4,))], samples=1)
    form = TypedForm(tmp_path / "model.onnx", plan(a=(dtype, 1)), 0.0, AccuracyCheck(Accuracy(1, {})))
    build.build_targets(
        tmp_path / "model.onnx",
        [TARGETS["t4"]],
        tmp_path,
        terms=build.Terms(settings, ShapeProfile({}), sparse_weights=False, held_back=held_back, builder=record),
        events=Events(),
        typed=form,
    )
    assert [request.precision for request in asked] == [dtype.value]
