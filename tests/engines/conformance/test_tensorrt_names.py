"""Every class, method, enum and argument of TensorRT that our code uses exists in the real bindings, 11.4 and RTX.

The bindings are imported without TensorRT or a GPU; the names used are read from our own source.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import engines.tensorrt
from engines.tensorrt.dtypes import TENSORRT_TYPES
from tests.engines.conformance.bindings import dump, dump_tensorrt
from tests.engines.conformance.used_names import MODULE, Use, problems, read_uses

SOURCE = Path(engines.tensorrt.__file__).parent
SEEDS: dict[str, dict[str, str]] = {
    "library.py": {"module": MODULE},
    "options.py": {"module": MODULE, "config": "IBuilderConfig"},
    "builder/build_plan.py": {
        "module": MODULE,
        "builder": "Builder",
        "network": "INetworkDefinition",
        "config": "IBuilderConfig",
        "cache": "ITimingCache",
        "error": "ParserError",
        "layer": "ILayer",
        "tensor": "ITensor",
        "library.module": MODULE,
    },
    "plugins.py": {"owner": "Runtime", "registry": "IPluginRegistry"},
    "runtime/trial.py": {"runtime": "Runtime"},
    "builder/timing.py": {"config": "IBuilderConfig", "cache": "ITimingCache"},
    "runtime/refit.py": {"engine": "ICudaEngine", "parser": "OnnxParserRefitter", "refitter": "Refitter"},
    "runtime/context.py": {
        "self._engine": "ICudaEngine",
        "self._context": "IExecutionContext",
        "self._cache": "IRuntimeCache",
        "config": "IRuntimeConfig",
        "self._library.module": MODULE,
        "self._new(activations is not None)": "IExecutionContext",
        "trt": MODULE,
    },
    "runtime/layout.py": {"trt": MODULE, "engine": "ICudaEngine"},
    "runtime/plan.py": {
        "owner": "Runtime",
        "runtime": "Runtime",
        "engine": "ICudaEngine",
    },
}
RTX_ONLY = {
    # asked of the module first (engines.tensorrt.library.Capabilities), used only where they are
    "Runtime.get_engine_validity",
    "EngineInvalidityDiagnostics",
    "IRuntimeConfig.create_runtime_cache",
    "IRuntimeConfig.set_runtime_cache",
    "IRuntimeConfig.cuda_graph_strategy",
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
    "IRuntimeCache",
    "CudaGraphStrategy",
    "DynamicShapesKernelSpecializationStrategy",
    "ComputeCapability",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
}


@pytest.fixture(scope="module")
def rtx() -> dict[str, Any]:
    pytest.importorskip("tensorrt_rtx_bindings", reason="the rtx extra is not installed")
    return dump("tensorrt_rtx_bindings")


@pytest.fixture(scope="module")
def tensorrt(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return dump_tensorrt(tmp_path_factory.mktemp("bindings"))


@pytest.fixture(scope="module")
def used(rtx: dict[str, Any]) -> list[Use]:
    files = {path: SEEDS.get(path.relative_to(SOURCE).as_posix(), {}) for path in sorted(SOURCE.rglob("*.py"))}
    uses, unresolved = read_uses(files, rtx["names"])
    assert not unresolved, f"TensorRT methods called on variables of unknown class; add them to SEEDS: {unresolved}"
    return uses


def test_the_reader_finds_what_we_use(used: list[Use]) -> None:
    found = {f"{use.owner}.{use.member}" for use in used}
    assert len(found) > 80
    for name in (
        "IExecutionContext.execute_async_v3",
        "TensorIOMode.INPUT",
        "Runtime.deserialize_cuda_engine",
        "IBuilderConfig.DLA_core",
        "BuilderFlag.STRIP_PLAN",
        "MemoryPoolType.WORKSPACE",
        "IPluginRegistry.load_library",
        "ITimingCache.serialize",
        "OnnxParserRefitter.refit_from_file",
        "SerializationFlag.EXCLUDE_WEIGHTS",
        "ICudaEngine.weight_streaming_budget_v2",
    ):
        assert name in found


def test_rtx_has_every_name(used: list[Use], rtx: dict[str, Any]) -> None:
    assert [text for use in used for text in problems(use, rtx["names"])] == []


def test_tensorrt_has_every_name_but_the_probed_ones(used: list[Use], tensorrt: dict[str, Any]) -> None:
    assert tensorrt["version"].startswith("11.4.")
    guarded = [use for use in used if use.owner in RTX_ONLY or f"{use.owner}.{use.member}" in RTX_ONLY]
    guarded += [use for use in used if use.owner == MODULE and use.member in RTX_ONLY]
    others = [use for use in used if use not in guarded]
    assert [text for use in others for text in problems(use, tensorrt["names"])] == []
    for name in sorted(RTX_ONLY):
        owner, _, member = name.partition(".")
        assert member not in tensorrt["names"].get(owner, ()) if member else owner not in tensorrt["names"], name


@pytest.mark.parametrize("library", ["rtx", "tensorrt"])
def test_types_and_severities_have_the_names_we_compare(library: str, request: pytest.FixtureRequest) -> None:
    names = request.getfixturevalue(library)["names"]
    assert set(TENSORRT_TYPES) <= set(names["DataType"])
    assert {"ERROR", "INTERNAL_ERROR", "WARNING", "INFO", "VERBOSE"} <= set(names["ILogger"])


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (Use("x.py:1", MODULE, "IInt8Calibrator"), "the module has no IInt8Calibrator"),
        (Use("x.py:1", "BuilderFlag", "INT8"), "BuilderFlag has no INT8"),
        (Use("x.py:1", "IBuilderConfig", "set_timing_cache", True, 1, ("ignore",)), "keyword"),
        (Use("x.py:1", "IExecutionContext", "execute_async_v3", True, 2), "2 positional"),
    ],
)
def test_a_name_that_is_gone_is_found(use: Use, says: str, rtx: dict[str, Any]) -> None:
    assert any(says in text for text in problems(use, rtx["names"]))
