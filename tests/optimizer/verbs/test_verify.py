"""``optimize verify`` on whole and on broken bundles; hashes agree unless the test is about them."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

from engines.build import BuildRequest, build_engine
from engines.errors import EngineError
from engines.profile import ShapeProfile, ShapeRange
from engines.targets.gpus_here import Gpu
from engines.targets.target import TARGETS
from engines.tensorrt.library import installed
from engines.tensorrt.plan_header import PlanHeader, read_header
from graphs.digests import sha256_file
from graphs.errors import BadInput
from graphs.files import write_json
from optimizer.bundle import BundleManifest
from optimizer.verbs.bench.run import BenchSettings, bench_bundle
from optimizer.verbs.compare.sides import compare_sides
from optimizer.verbs.together import bench_together
from optimizer.verbs.verify import verify_bundle

needs_rtx = pytest.mark.skipif(not installed("tensorrt_rtx"), reason="the rtx extra is not installed")
HEAD = '<ir_version: 8, opset_import: ["" : 17]> '
RELU = HEAD + "agraph (float[n, 4] x) => (float[n, 4] y) { y = Relu(x) }"
ROWS = ShapeProfile({"x": ShapeRange((1, 4), (2, 4), (8, 4))})
A100 = Gpu(0, "NVIDIA A100-SXM4-80GB", (8, 0), 80000, "580.1")


def seal(bundle: Path) -> None:
    """Write the manifest for the files as they are now."""
    files = {str(p.relative_to(bundle)): sha256_file(p) for p in bundle.rglob("*") if p.is_file()}
    files.pop("manifest.json", None)
    write_json(bundle / "manifest.json", BundleManifest("", "", "", "", {}, files))


def make_bundle(folder: Path, text: str, profile: ShapeProfile, *targets: str) -> Path:
    folder.mkdir()
    model = folder / "model.onnx"
    onnx.save(onnx.parser.parse_model(text), model)
    for target in targets:
        out = folder / "engines" / target
        build_engine(BuildRequest(model, TARGETS[target], profile, out, "fp32"), cache=False)
    seal(folder)
    return folder


@pytest.fixture(scope="module")
def plan_bytes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("whole") / "bundle", RELU, ROWS, "a100", "cpu")


@pytest.fixture
def bundle(plan_bytes: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    shutil.copytree(plan_bytes, tmp_path / "bundle")
    return tmp_path / "bundle"


def check_of(bundle: Path, name: str) -> tuple[bool, str]:
    found = next(check for check in verify_bundle(bundle).checks if check.name == name)
    return found.ok, found.detail


def change_engine(bundle: Path, plan: Callable[[bytes], bytes] = lambda whole: whole, **fields: Any) -> None:
    """Another plan for the A100, and other fields in its ``engine.json``, with hashes and sizes that agree."""
    directory = bundle / "engines" / "a100"
    file = directory / "engine.plan"
    file.write_bytes(plan(file.read_bytes()))
    manifest = json.loads((directory / "engine.json").read_text())
    manifest |= {"bytes": file.stat().st_size, "file_digest": sha256_file(file), **fields}
    (directory / "engine.json").write_text(json.dumps(manifest))
    seal(bundle)


@needs_rtx
def test_a_whole_bundle_passes_and_says_what_was_seen(bundle: Path) -> None:
    assert verify_bundle(bundle).ok
    ok, detail = check_of(bundle, "a100")
    assert ok and "for SM80" in detail and "reads its frame" in detail and "not run here: no NVIDIA GPU" in detail
    assert "ran 4 seeded random inputs" in check_of(bundle, "cpu")[1]


def byte(position: int, value: int) -> Callable[[bytes], bytes]:
    return lambda whole: whole[:position] + bytes([value]) + whole[position + 1 :]


SPEC = {"dtype": "float32", "shape": ["n", 4], "batch": True, "finite": True}
OTHER_INPUT = {"inputs": {"z": {"min": [1, 4], "opt": [2, 4], "max": [8, 4]}}}
OTHER_RANK = {"inputs": {"x": {"min": [1], "opt": [2], "max": [8]}}}


@needs_rtx
@pytest.mark.parametrize(
    ("plan", "fields", "words"),
    [
        (lambda whole: whole[: len(whole) // 2], {}, "cut off"),
        (lambda whole: whole[:30], {}, "cut off after 30 bytes"),
        (lambda whole: b"", {}, "is empty"),
        (lambda whole: b"\0" * len(whole), {}, "not a TensorRT plan"),
        (lambda whole: b"ftrt" + whole[4:], {}, "is a plan of tensorrt; expected: tensorrt_rtx"),
        (byte(25, 6), {}, "was built by tensorrt_rtx 1.6"),
        (byte(32, 1), {}, "was built for SM75; expected: SM80"),
        (byte(76, 0xFF), {}, "refuses the plan"),  # the place of the first section
        (lambda whole: whole, {"compute_capability": [7, 5]}, "says SM75"),
        (lambda whole: whole, {"target": "t4"}, "is an engine for t4"),
        (lambda whole: whole, {"backend_version": "1.6.0.1"}, "expected: 1.6.0.1"),
        (lambda whole: whole, {"outputs": [{"name": "z", **SPEC}]}, "are not the graph's: 'y', 'z'"),
        (lambda whole: whole, {"profile": OTHER_RANK}, "does not fit its shape"),
        (lambda whole: whole, {"profile": OTHER_INPUT}, "has an input 'z'"),
    ],
)
def test_a_broken_gpu_engine_fails_though_all_hashes_agree(bundle: Path, plan, fields, words: str) -> None:
    change_engine(bundle, plan, **fields)
    found = verify_bundle(bundle)
    assert not found.ok and check_of(bundle, "files")[0], "the hashes agree"
    ok, detail = check_of(bundle, "a100")
    assert not ok and words in detail


@needs_rtx
def test_a_plan_changed_after_the_build_fails_as_file_and_as_engine(bundle: Path) -> None:
    plan = bundle / "engines" / "a100" / "engine.plan"
    plan.write_bytes(byte(2000, 7)(plan.read_bytes()))
    assert check_of(bundle, "files") == (False, "changed or missing: engines/a100/engine.plan")
    assert not check_of(bundle, "a100")[0]


@needs_rtx
def test_an_engine_that_does_not_open_on_its_own_gpu_fails(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise EngineError("TensorRT-RTX could not load the plan", where="engine.plan")

    monkeypatch.setattr("engines.open.used_gpu", lambda: A100)
    monkeypatch.setattr("engines.apart.opening.ChildEngine", refuse)
    ok, detail = check_of(bundle, "a100")
    assert not ok and "could not load the plan" in detail


@needs_rtx
def test_an_engine_for_another_gpu_than_the_one_here_is_not_broken(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.open.used_gpu", lambda: Gpu(0, "Tesla T4", (7, 5), 16384, "580.1"))
    ok, detail = check_of(bundle, "a100")
    assert ok and "not run here: built for SM80, this GPU is SM75" in detail


POSITIONS = HEAD + (
    "agraph (float[1, n] x) => (float[1, n] y) <int64 zero = {0}, int64 one = {1}, int64 axis = {1},"
    "float[8] table = {1, 2, 3, 4, 5, 6, 7, 8}> { sizes = Shape(x) length = Gather(sizes, axis) "
    "places = Range(zero, length, one) row = Gather(table, places) y = Add(x, row) }"
)
"""The table has 8 positions: the length that synthetic data takes by itself, 64, is not in it."""


@pytest.mark.parametrize(
    "verb",
    [
        verify_bundle,
        lambda bundle: compare_sides(bundle, bundle, "random", 2),
        lambda bundle: bench_together([bundle], copies=2, batch=1, seconds=0.1, rounds=1),
        lambda bundle: bench_bundle(bundle / "engines" / "cpu", BenchSettings(duration=0.2)).verdict,
    ],
    ids=["verify", "compare", "together", "bench"],
)
def test_inputs_are_of_the_profiles_usual_length(tmp_path: Path, verb: Callable[[Path], object]) -> None:
    profile = ShapeProfile({"x": ShapeRange((1, 2), (1, 6), (1, 8))})
    found = verb(make_bundle(tmp_path / "bundle", POSITIONS, profile, "cpu"))
    assert getattr(found, "ok", True)


LOG = HEAD + "agraph (float[n, 4] x) => (float[n, 4] y) { y = Log(x) }"
DIVIDE = HEAD + "agraph (int64[n, 4] x) => (int64[n, 4] y) <int64 all = {6}> { y = Div(all, x) }"
ROUNDS = HEAD + "agraph (int64[n, 4] x) => (int64[n, 4] y) { y = Identity(x) }"
PASSED_ON = HEAD + "agraph (float[n, 4] x) => (x, float[n, 4] y) { y = Relu(x) }"


@pytest.mark.parametrize(
    ("engine", "graph", "words"),
    [(LOG, RELU, "'y' is not finite"), (DIVIDE, ROUNDS, "division by zero")],
)
def test_an_engine_that_does_worse_than_its_graph_fails(tmp_path: Path, engine: str, graph: str, words: str) -> None:
    bundle = make_bundle(tmp_path / "bundle", engine, ROWS, "cpu")
    onnx.save(onnx.parser.parse_model(graph), bundle / "model.onnx")
    seal(bundle)
    ok, detail = check_of(bundle, "cpu")
    assert not ok and words in detail


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LOG, "outputs finite where model.onnx's are"),
        (DIVIDE, "made-up inputs do not suit the model"),
        (PASSED_ON, "every output finite"),
    ],
)
def test_what_no_made_up_input_suits_is_no_fault_of_the_engine(tmp_path: Path, text: str, words: str) -> None:
    ok, detail = check_of(make_bundle(tmp_path / "bundle", text, ROWS, "cpu"), "cpu")
    assert ok and words in detail


def test_a_manifest_that_cannot_be_read_fails(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", RELU, ROWS, "cpu")
    (bundle / "engines" / "cpu" / "engine.json").write_text("{}")
    seal(bundle)
    ok, detail = check_of(bundle, "cpu")
    assert not ok and "engine.json" in detail


def test_the_header_of_a_full_tensorrt_plan(tmp_path: Path) -> None:
    plan = tmp_path / "engine.plan"
    plan.write_bytes(struct.pack("<4sIIIQ4B", b"ftrt", 0, 1, 0, 99, 10, 13, 0, 35) + bytes(64))
    header = read_header(plan)
    assert (header.library, header.version, header.bytes, header.capabilities) == ("tensorrt", "10.13.0.35", None, ())
    plan.write_bytes(b"ptrt" + bytes(64))
    assert read_header(plan) == PlanHeader("tensorrt"), "without a frame nothing else is known"


def test_an_engine_that_the_report_speaks_of_and_nobody_finds_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(tmp_path / "bundle", RELU, ROWS, "cpu")
    (bundle / "report.json").touch()
    seal(bundle)
    built = SimpleNamespace(targets={"cpu": SimpleNamespace(engine="e"), "a100": SimpleNamespace(engine="e")})
    monkeypatch.setattr("optimizer.verbs.verify.read_report", lambda path: built)
    assert check_of(bundle, "cpu")[0]
    ok, detail = check_of(bundle, "a100")
    assert not ok and "no engine for target 'a100'" in detail


def test_a_damaged_report_fails_as_a_file_and_a_newer_schema_is_told(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", RELU, ROWS, "cpu")
    (bundle / "report.json").write_text('{"status": "ok"}')
    seal(bundle)
    (bundle / "report.json").write_text("{")
    assert check_of(bundle, "files") == (False, "changed or missing: report.json") and check_of(bundle, "cpu")[0]
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))
    with pytest.raises(BadInput, match="made by a newer version"):
        verify_bundle(bundle)
