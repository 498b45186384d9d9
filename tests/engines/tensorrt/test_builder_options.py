"""Builder options: what is checked before a build, what reaches the library, what it is said to ignore."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engines.build import BuildRequest, build_engine
from engines.manifest import EngineManifest
from engines.profile import ShapeProfile, ShapeRange, parse_shape_profiles
from engines.targets.target import TARGETS
from engines.tensorrt.capabilities import probe
from engines.tensorrt.library import Library, load_library, process_logger
from engines.tensorrt.options import OPTIONS, apply_options, check_options, options_with_digests, target_options
from graphs.errors import BadInput


@pytest.fixture
def library(rtx: None) -> Library:
    return load_library("tensorrt_rtx")


@pytest.fixture
def config(library: Library) -> Iterator[Any]:
    builder = library.module.Builder(process_logger(library))  # a configuration dies with its builder
    yield builder.create_builder_config()
    del builder


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tf32": "maybe"}, "on or off"),
        ({"optimization_level": "9"}, "0 to 5"),
        ({"workspace_mb": "much"}, "MiB"),
        ({"hardware_compatible": "all"}, "Ampere"),
        ({"plugins": "/no/such.so"}, "TensorRT plugins"),
        ({"dla_core": "-1"}, "DLA core"),
    ],
)
def test_values_are_checked_without_a_library(options: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_options(options)
    assert words in caught.value.expected


def test_an_unknown_name_is_found_by_the_library(library: Library) -> None:
    check_options({"no_such": "1"})  # it may be the library's own: only the library can tell
    with pytest.raises(BadInput, match="no_such") as caught:
        check_options({"no_such": "1"}, library)
    assert "weight_streaming" in caught.value.expected


def test_flags_pools_and_attributes_of_the_library_pass_through(library: Library, config: Any) -> None:
    trt = library.module
    options = {"distributive_independence": "on", "workspace_mb": "64", "max_num_tactics": "5"}
    options |= {"tiling_optimization_level": "fast", "tf32": "off", "weight_streaming": "on"}
    check_options(options, library)
    assert apply_options(options, library, config) == ()
    assert config.get_flag(trt.BuilderFlag.DISTRIBUTIVE_INDEPENDENCE)
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 64 << 20
    assert (config.max_num_tactics, config.tiling_optimization_level) == (5, trt.TilingOptimizationLevel.FAST)
    assert not config.get_flag(trt.BuilderFlag.TF32)
    assert config.get_flag(trt.BuilderFlag.WEIGHT_STREAMING)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("hardware_compatible", "on", "the library keeps NONE"),
        ("dla_core", "0", "the library keeps -1"),
        ("dla_local_dram_mb", "64", "the library keeps 1024 MiB"),
        ("optimization_level", "5", "when the plan is loaded"),
        ("timing_cache", "on", "times no kernels"),
    ],
)
def test_what_rtx_does_not_use_is_said(library: Library, config: Any, name: str, value: str, why: str) -> None:
    (said,) = apply_options({name: value}, library, config)
    assert said.startswith(f"option {name}={value} is not used by TensorRT-RTX")
    assert why in said


def test_ignored_options_are_in_the_manifest(
    conv_model: Path, conv_profile: ShapeProfile, tmp_path: Path, rtx: None
) -> None:
    options = {"optimization_level": "1", "hardware_compatible": "on"}
    for target, words in (("a100", "keeps NONE"), ("t4", "never NVIDIA T4")):
        request = BuildRequest(conv_model, TARGETS[target], conv_profile, tmp_path / target, "fp32", options=options)
        ignored = " ".join(build_engine(request).ignored)
        assert "optimization_level=1 is not used" in ignored
        assert words in ignored


def test_levels_rtx_is_said_to_ignore_really_change_nothing(
    conv_model: Path, conv_profile: ShapeProfile, tmp_path: Path, rtx: None
) -> None:
    def plan(level: str) -> str:
        out = tmp_path / level
        options = {"optimization_level": level}
        return build_engine(
            BuildRequest(conv_model, TARGETS["a100"], conv_profile, out, "fp32", options=options)
        ).file_digest

    assert plan("0") == plan("5")


def test_ampere_plus_is_left_out_for_turing_only() -> None:
    asked = {"hardware_compatible": "on", "tf32": "off"}
    kept, notes = target_options(asked, TARGETS["a100"])
    assert (kept, notes) == (asked, ())
    kept, notes = target_options(asked, TARGETS["t4"])
    assert kept == {"tf32": "off"}
    assert "never NVIDIA T4" in notes[0]


def test_a_plugins_content_is_part_of_what_a_plan_depends_on(tmp_path: Path) -> None:
    paths = [tmp_path / "a.so", tmp_path / "b.so"]
    for path in paths:
        path.write_bytes(b"one")
    options = {"plugins": os.pathsep.join(map(str, paths))}
    before = options_with_digests(options)
    assert options_with_digests(options) == before
    paths[1].write_bytes(b"two")
    assert options_with_digests(options) != before


class _Config:
    """An ``IBuilderConfig`` of full TensorRT, as far as options go."""

    def __init__(self) -> None:
        self.flags: set[Any] = set()
        self.DLA_core, self.default_device_type, self.hardware_compatibility_level = -1, "GPU", "NONE"

    def set_flag(self, flag: Any) -> None:
        self.flags.add(flag)

    def get_flag(self, flag: Any) -> bool:
        return flag in self.flags


def test_dla_and_hardware_levels_reach_full_tensorrt() -> None:
    module = SimpleNamespace(
        BuilderFlag=SimpleNamespace(GPU_FALLBACK="fallback"),
        DeviceType=SimpleNamespace(DLA="DLA"),
        HardwareCompatibilityLevel=SimpleNamespace(AMPERE_PLUS="AMPERE_PLUS"),
    )
    config, full = _Config(), SimpleNamespace(module=module, name="tensorrt", title="TensorRT 11.4")
    ignored = apply_options({"dla_core": "1", "hardware_compatible": "on", "plugins": "x.so"}, full, config)  # type: ignore[arg-type]
    assert ignored == ()
    assert (config.DLA_core, config.default_device_type, config.flags) == (1, "DLA", {"fallback"})
    assert config.hardware_compatibility_level == "AMPERE_PLUS"


def test_every_documented_option_is_a_name_a_shell_can_take() -> None:
    assert all(name.isidentifier() and name.islower() for name in OPTIONS)


def test_a_module_without_a_builder_can_be_probed() -> None:
    """The lean runtime runs plans and builds none."""
    lean: Any = SimpleNamespace(ICudaEngine=object, Runtime=object)
    found = probe(lean, "tensorrt_lean")
    assert not found.timing_cache and not found.plugins and found.compute_capability_targets == ()


def test_repeated_shapes_become_profiles() -> None:
    options = ["x=1x3:2x3:4x3", "z=1", "x=8x3:16x3:32x3"]
    first, second = parse_shape_profiles(options)
    assert first == {"x": ShapeRange((1, 3), (2, 3), (4, 3)), "z": ShapeRange((1,), (1,), (1,))}
    assert second["x"] == ShapeRange((8, 3), (16, 3), (32, 3))
    assert second["z"] == first["z"]
    assert parse_shape_profiles([]) == [{}]


def test_several_profiles_are_built_and_kept(
    conv_model: Path, conv_profile: ShapeProfile, tmp_path: Path, rtx: None
) -> None:
    more = ShapeProfile({"x": ShapeRange((8, 3, 8, 8), (16, 3, 8, 8), (32, 3, 8, 8))})
    out = tmp_path / "a100"
    request = BuildRequest(conv_model, TARGETS["a100"], conv_profile, out, "fp32", more_profiles=(more,))
    assert build_engine(request).profiles == (conv_profile, more)
    manifest = EngineManifest.load(out)
    assert manifest.more_profiles == (more,)
    assert "--shape x=8x3x8x8:16x3x8x8:32x3x8x8" in manifest.rebuild


@pytest.mark.parametrize("target", ["cpu", "a100"])
def test_a_profile_out_of_order_never_reaches_the_builder(conv_model: Path, tmp_path: Path, target: str) -> None:
    wrong = ShapeProfile({"x": ShapeRange((4, 3, 8, 8), (2, 3, 8, 8), (8, 3, 8, 8))})
    with pytest.raises(BadInput, match="min 4, opt 2, max 8"):
        build_engine(BuildRequest(conv_model, TARGETS[target], wrong, tmp_path / "out", "fp32"))
