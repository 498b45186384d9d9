"""Every class, method, enum and argument of TensorRT that our code uses exists in the real bindings, 8.5 to 11 and RTX,
or stands behind a capability that the binding lacks.

The names used are read from our own source, what each binding has from its snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import engines.tensorrt
from engines.tensorrt.capabilities import NAMES, Capabilities, has
from engines.tensorrt.dtypes import TENSORRT_TYPES
from engines.tensorrt.library import Library
from engines.tensorrt.options import OPTIONS, check_options
from graphs.errors import BadInput
from tests.engines.conformance.bindings import (
    BINDINGS,
    NEWEST,
    RTX,
    Binding,
    Catalogue,
    Snapshot,
    installed_version,
    read_installed,
    snapshot,
    together,
)
from tests.engines.conformance.used_names import MODULE, Use, problems, read_uses

SOURCE = Path(engines.tensorrt.__file__).parent
SNAPSHOTS = {binding.file.stem: snapshot(binding) for binding in BINDINGS}
SEEDS: dict[str, dict[str, str]] = {
    "differences.py": {
        "module": MODULE,
        "config": "IBuilderConfig",
        "owner": "Builder",  # or a Runtime: both have the one method that is called
        "registry": "IPluginRegistry",
        "runtime": "Runtime",
        "engine": "ICudaEngine",
        "context": "IExecutionContext",
    },
    "options.py": {"module": MODULE, "config": "IBuilderConfig"},
    "plugins.py": {"owner": "Runtime"},
    "builder/build_plan.py": {
        "builder": "Builder",
        "network": "INetworkDefinition",
        "parsed.network": "INetworkDefinition",
        "config": "IBuilderConfig",
        "layer": "ILayer",
        "tensor": "ITensor",
    },
    "builder/configuration.py": {
        "module": MODULE,
        "builder": "Builder",
        "network": "INetworkDefinition",
        "config": "IBuilderConfig",
        "tensor": "ITensor",
        "profile": "IOptimizationProfile",
    },
    "builder/inspection.py": {
        "runtime": "Runtime",
        "engine": "ICudaEngine",
        "inspector": "EngineInspector",
        "context": "IExecutionContext",
    },
    "builder/layer_types.py": {
        "network": "INetworkDefinition",
        "config": "IBuilderConfig",
        "layer": "ILayer",
        "output": "ITensor",
    },
    "builder/node_layers.py": {"network": "INetworkDefinition", "layer": "ILayer", "out": "ITensor"},
    "builder/parsing.py": {
        "builder": "Builder",
        "network": "INetworkDefinition",
        "parser": "OnnxParser",
        "error": "ParserError",
        "layer": "ILayer",
    },
    "builder/timing.py": {"config": "IBuilderConfig", "cache": "ITimingCache"},
    "runtime/trial.py": {"runtime": "Runtime"},
    "runtime/refit.py": {"engine": "ICudaEngine", "parser": "OnnxParserRefitter", "refitter": "Refitter"},
    "runtime/context.py": {
        "self._engine": "ICudaEngine",
        "self._context": "IExecutionContext",
        "self._cache": "IRuntimeCache",
        "config": "IRuntimeConfig",
        "self._library.module": MODULE,
        "trt": MODULE,
    },
    "runtime/layout.py": {"trt": MODULE, "engine": "ICudaEngine"},
    "runtime/plan.py": {"owner": "Runtime", "runtime": "Runtime", "engine": "ICudaEngine"},
}
ASKED = "options.py"
"""Names of builder options are looked up when a user asks for one: a library without one refuses it (tested below)."""


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return together(SNAPSHOTS)


@pytest.fixture(scope="module")
def used(catalogue: Catalogue) -> list[Use]:
    files = {path: SEEDS.get(path.relative_to(SOURCE).as_posix(), {}) for path in sorted(SOURCE.rglob("*.py"))}
    uses, unresolved = read_uses(files, catalogue)
    assert not unresolved, f"TensorRT methods called on variables of unknown class; add them to SEEDS: {unresolved}"
    return uses


def missing(used: list[Use], binding: Snapshot) -> Iterator[str]:
    """What our code would not find in ``binding``."""
    for use in used:
        if use.where.startswith(ASKED) or not use.runs(binding.capabilities):
            continue
        yield from problems(use, binding.names)
        if use.stored and f"{use.owner}.{use.member}" in binding.readonly:
            yield f"{use.where}: {use.owner}.{use.member} cannot be set"


def test_the_reader_finds_what_we_use(used: list[Use]) -> None:
    found = {f"{use.owner}.{use.member}" for use in used}
    assert len(found) > 80
    for name in (
        "IExecutionContext.execute_async_v3",
        "TensorIOMode.INPUT",
        "Runtime.deserialize_cuda_engine",
        "IBuilderConfig.DLA_core",
        "BuilderFlag.STRIP_PLAN",
        "BuilderFlag.OBEY_PRECISION_CONSTRAINTS",
        "MemoryPoolType.WORKSPACE",
        "IPluginRegistry.load_library",
        "ITimingCache.serialize",
        "OnnxParserRefitter.refit_from_file",
        "SerializationFlag.EXCLUDE_WEIGHTS",
        "ICudaEngine.weight_streaming_budget_v2",
        "ICudaEngine.create_execution_context_without_device_memory",
        "EngineInspector.get_engine_information",
    ):
        assert name in found


@pytest.mark.parametrize("version", SNAPSHOTS)
def test_every_name_is_there_or_stands_behind_a_capability(version: str, used: list[Use]) -> None:
    assert list(missing(used, SNAPSHOTS[version])) == []


@pytest.mark.parametrize("version", SNAPSHOTS)
def test_what_a_capability_guards_is_missed_without_it(version: str, used: list[Use]) -> None:
    """The guards are no decoration: taken away, the names that they guard are found missing."""
    binding = SNAPSHOTS[version]
    bare = [Use(u.where, u.owner, u.member, u.call, u.positional, u.keywords) for u in used]
    if lacking := {name for name in NAMES if not getattr(binding.capabilities, name)}:
        used_names = {n for u in used for n in (f"{u.owner}.{u.member}", u.owner, u.member)}
        unguarded = " ".join(missing(bare, binding))
        expected = {c for c in lacking if any(n in used_names and not has(binding.module, n) for n in NAMES[c])}
        assert expected and all(any(n.rpartition(".")[2] in unguarded for n in NAMES[c]) for c in expected)


EXPECTED = {
    # first seen, in the order of BINDINGS: 8.5.3, 8.6.1, 10.0.1, 10.4.0, 10.16.1, 11.4.0, RTX 1.7.1
    "strongly_typed": "0011111",
    "strongly_typed_flag": "0011111",
    "explicit_batch_flag": "1111100",
    "layer_precisions": "1111100",
    "opset_21": "0000111",
    "external_tactics": "1100000",
    "profile_sharing_preview": "0111100",
    "shared_profiles": "0111111",
    "progress_monitor": "0011111",
    "layer_metadata": "0111111",
    "parser_names_nodes": "0011111",
    "registry_of_owner": "0111111",
    "registry_loads": "0111111",
    "host_code": "0111111",
    "sized_activations": "0001111",
    "allocation_strategy": "0011111",
    "weight_streaming": "0001111",
    "engine_validity": "0000001",
    "runtime_cache": "0000001",
    "cuda_graph_strategy": "0000001",
    "onnx_refitter": "0011111",
    "serialization_config": "0011111",
    "timing_cache": "1111110",
    "plugins": "1111110",
}


@pytest.mark.parametrize("capability", EXPECTED)
def test_what_each_version_can_do(capability: str) -> None:
    found = (bool(getattr(binding.capabilities, capability)) for binding in SNAPSHOTS.values())
    assert "".join(str(int(can)) for can in found) == EXPECTED[capability]


def test_every_capability_is_expected_of_every_version() -> None:
    assert set(EXPECTED) | {"compute_capability_targets"} == set(Capabilities.__dataclass_fields__)
    assert SNAPSHOTS[RTX.file.stem].capabilities.compute_capability_targets[:2] == ("SM75", "SM80")


@pytest.mark.parametrize("name", [name for names in NAMES.values() for name in names])
def test_a_capability_asks_for_names_that_some_version_has(name: str) -> None:
    assert any(has(binding.module, name) for binding in SNAPSHOTS.values())


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (version, name)
        for version, binding in SNAPSHOTS.items()
        for name, option in OPTIONS.items()
        if not all(has(binding.module, needed) for needed in option.needs)
    ],
)
def test_a_library_without_an_option_refuses_it(version: str, name: str) -> None:
    binding, option = SNAPSHOTS[version], OPTIONS[name]
    library: Any = Library(binding.module, "tensorrt", binding.version, binding.capabilities)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=f"{name} is not an option of TensorRT {binding.version}"):
        check_options({name: {"on or off": "on"}.get(option.form, "on" if "on" in option.form else "1")}, library)


def test_options_name_all_they_use(used: list[Use]) -> None:
    needs = {needed for option in OPTIONS.values() for needed in option.needs}
    for use in used:
        if use.where.startswith(ASKED) and use.owner in ("BuilderFlag", "HardwareCompatibilityLevel"):
            assert {f"{use.owner}.{use.member}", use.owner} & needs, use


@pytest.mark.parametrize("version", SNAPSHOTS)
def test_types_and_severities_have_the_names_we_compare(version: str) -> None:
    names = SNAPSHOTS[version].names
    assert {"FLOAT", "HALF", "INT8", "INT32", "BOOL"} <= set(names["DataType"])
    assert {"ERROR", "INTERNAL_ERROR", "WARNING", "INFO", "VERBOSE"} <= set(names["ILogger"])


def test_the_newest_has_all_types_we_know() -> None:
    assert set(TENSORRT_TYPES) <= set(SNAPSHOTS[NEWEST.file.stem].names["DataType"])


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (Use("x.py:1", MODULE, "IInt8Calibrator"), "the module has no IInt8Calibrator"),
        (Use("x.py:1", "BuilderFlag", "INT8"), "BuilderFlag has no INT8"),
        (Use("x.py:1", "IBuilderConfig", "set_timing_cache", True, 1, ("ignore",)), "keyword"),
        (Use("x.py:1", "IExecutionContext", "execute_async_v3", True, 2), "2 positional"),
        (Use("x.py:1", "ICudaEngine", "num_layers", stored=True), "cannot be set"),
    ],
)
def test_a_name_that_is_gone_is_found(use: Use, says: str) -> None:
    assert any(says in text for text in missing([use], SNAPSHOTS[RTX.file.stem]))


def test_guards_are_read_from_the_code(tmp_path: Path, catalogue: Catalogue) -> None:
    source = tmp_path / "some.py"
    source.write_text(
        "def run(library, runtime, layer):\n"
        "    caps = library.capabilities.host_code\n"
        "    if not caps or layer is None:\n"
        "        return layer.name\n"
        "    runtime.engine_host_code_allowed = True\n"
        "    return layer.metadata if library.capabilities.layer_metadata else layer.name\n"
        "def other(library, runtime, layer):\n"
        "    if caps:\n"
        "        return layer.precision\n"
        "    caps = library.capabilities.host_code\n"
        "    caps = 1\n"
        "    return layer.type if caps else None\n"
    )
    uses, _ = read_uses({source: {"runtime": "Runtime", "layer": "ILayer"}}, catalogue)
    guards = {(use.member, frozenset(use.guards)) for use in uses}
    host = ("host_code", True)
    assert guards == {
        ("name", frozenset()),
        ("engine_host_code_allowed", frozenset({host})),
        ("metadata", frozenset({host, ("layer_metadata", True)})),
        ("name", frozenset({host, ("layer_metadata", False)})),
        ("precision", frozenset()),
        ("type", frozenset()),
    }


@pytest.mark.parametrize("binding", BINDINGS, ids=lambda binding: binding.file.stem)
def test_a_snapshot_is_what_the_installed_binding_says(binding: Binding, tmp_path: Path) -> None:
    if installed_version(binding) != binding.version:
        pytest.skip(f"{binding.package} {binding.version} is not installed")
    said = read_installed(binding, tmp_path)
    if said is None:
        pytest.skip("no C compiler for the stub libraries")
    kept = SNAPSHOTS[binding.file.stem]
    assert said["version"] == kept.version
    raw = json.loads(binding.file.read_text())
    assert said["enums"] == raw["enums"] and said["classes"] == raw["classes"]
