from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from engines.build import BuildRequest, build_engine
from engines.errors import BuildError, BuildFailure, EngineError
from engines.manifest import EngineManifest, Runtime, check_digest, check_loadable
from engines.open import open_engine
from engines.profile import ShapeProfile
from engines.targets.target import CPU, TARGETS
from graphs.errors import BadInput
from graphs.staging import staged
from tests.end_to_end.conftest import environment


def save_external(folder: Path, location: str = "weights.bin") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    weight = numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [4])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [4])
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [value], [result], [weight])
    proto = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save_model(proto, folder / "model.onnx", save_as_external_data=True, location=location, size_threshold=0)
    return folder / "model.onnx"


def build_cpu(model: Path, out: Path) -> EngineManifest:
    return build_engine(BuildRequest(model, CPU, ShapeProfile({}), out, "fp32"))


def test_cpu_engine_is_placed_described_and_runs(matmul_model: Path, tmp_path: Path) -> None:
    manifest = build_cpu(matmul_model, tmp_path / "engines" / "cpu")
    assert manifest == EngineManifest.load(tmp_path / "engines" / "cpu")
    assert (manifest.backend, manifest.target, manifest.compute_capability) == ("onnxruntime", "cpu", None)
    with open_engine(tmp_path / "engines" / "cpu") as engine:
        assert engine.inputs == manifest.inputs
        assert engine.infer({"x": np.zeros((1, 4), np.float32)})["y"].shape == (1, 8)


def test_a_process_that_runs_an_engine_loads_no_library_of_graphs(matmul_model: Path, tmp_path: Path) -> None:
    """``onnx_ir`` brings sympy: half a second, of each process that measures, verifies or serves."""
    build_cpu(matmul_model, tmp_path / "cpu")
    code = (
        "import sys; from pathlib import Path; import numpy as np; from engines.open import open_engine\n"
        "with open_engine(Path(sys.argv[1])) as engine: engine.infer({'x': np.zeros((1, 4), np.float32)})\n"
        "print({'onnx_ir', 'onnxscript', 'sympy', 'matplotlib'} & set(sys.modules))"
    )
    given = [sys.executable, "-c", code, str(tmp_path / "cpu")]
    done = subprocess.run(given, env=environment(tmp_path), capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize("location", ["weights.bin", "data/weights.bin"])
def test_external_data_stays_external_and_is_the_engines_own(tmp_path: Path, location: str) -> None:
    (tmp_path / "source" / "data").mkdir(parents=True)
    model = save_external(tmp_path / "source", location)
    manifest = build_cpu(model, tmp_path / "cpu")
    assert manifest.data_files == (location,)
    assert manifest.bytes == model.stat().st_size + 16, "what the reports call the engine's size"
    (tmp_path / "source" / location).write_bytes(bytes(16))  # an edit of the user's file in place
    with open_engine(tmp_path / "cpu") as engine:
        np.testing.assert_array_equal(engine.infer({"x": np.zeros(4, np.float32)})["y"], [0, 1, 2, 3])


def test_damaged_external_data_is_seen(tmp_path: Path) -> None:
    manifest, data = build_cpu(save_external(tmp_path / "source"), tmp_path / "cpu"), tmp_path / "cpu" / "weights.bin"
    check_digest(manifest, tmp_path / "cpu")
    data.write_bytes(bytes(16))
    with pytest.raises(EngineError, match="changed since"):
        check_digest(manifest, tmp_path / "cpu")
    data.write_bytes(bytes(15))
    with pytest.raises(EngineError, match=r"damaged(.|\n)*external data included"):
        open_engine(tmp_path / "cpu")
    data.unlink()
    with pytest.raises(EngineError, match=r"weights\.bin: missing"):
        open_engine(tmp_path / "cpu")


def test_missing_external_data_is_bad_input(tmp_path: Path) -> None:
    model = save_external(tmp_path / "source")
    (tmp_path / "source" / "weights.bin").unlink()
    with pytest.raises(BadInput, match=r"weights\.bin"):
        build_cpu(model, tmp_path / "cpu")
    assert not (tmp_path / "cpu").exists()


def test_external_data_outside_the_folder_is_bad_input(tmp_path: Path) -> None:
    model = save_external(tmp_path / "source")
    proto = onnx.load_model(model, load_external_data=False)
    for entry in proto.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../secret.bin"
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    model.write_bytes(proto.SerializeToString())
    with pytest.raises(BadInput, match="outside"):
        build_cpu(model, tmp_path / "cpu")


def test_unknown_operator_on_the_cpu_is_named(save_model, tmp_path: Path) -> None:
    header = '<ir_version: 9, opset_import: ["" : 17, "acme" : 1]>\n'
    model = save_model("agraph (float[1] x) => (float[1] y) { [my1] y = acme.MyOp(x) }", header=header)
    with pytest.raises(BuildError, match="MyOp") as caught:
        build_cpu(model, tmp_path / "cpu")
    assert caught.value.failure is BuildFailure.UNSUPPORTED_OP
    assert not (tmp_path / "cpu").exists()


def test_missing_model_is_bad_input(tmp_path: Path) -> None:
    for target in ("cpu", "a100"):
        with pytest.raises(BadInput, match="no such file"):
            build_engine(BuildRequest(tmp_path / "no.onnx", TARGETS[target], ShapeProfile({}), tmp_path / "o", "fp32"))


def test_a_new_build_replaces_an_old_one_whole(matmul_model: Path, conv_model: Path, tmp_path: Path) -> None:
    build_cpu(matmul_model, tmp_path / "cpu")
    (tmp_path / "cpu" / "stray.txt").write_text("old")
    manifest = build_cpu(conv_model, tmp_path / "cpu")
    assert EngineManifest.load(tmp_path / "cpu") == manifest
    assert not (tmp_path / "cpu" / "stray.txt").exists()


def test_a_failing_build_keeps_the_old_engine(matmul_model: Path, tmp_path: Path) -> None:
    before = build_cpu(matmul_model, tmp_path / "cpu")
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"garbage")
    with pytest.raises(BuildError):
        build_cpu(bad, tmp_path / "cpu")
    assert EngineManifest.load(tmp_path / "cpu") == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_output_that_is_a_file_or_cannot_be_written_is_bad_input(matmul_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BadInput, match="is a file"):
        build_cpu(matmul_model, tmp_path / "file")
    with pytest.raises(BadInput):
        build_cpu(matmul_model, tmp_path / "file" / "cpu")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_is_bad_input_and_leaves_nothing(
    matmul_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, destination: Path) -> None:
        Path(destination).write_bytes(b"part")
        raise OSError(28, "No space left on device", str(source), None, str(destination))

    monkeypatch.setattr("graphs.storage.model_files.shutil.copyfile", full)
    with pytest.raises(BadInput, match="no space left on the disk") as caught:
        build_cpu(matmul_model, tmp_path / "engines" / "cpu")
    assert caught.value.where.startswith(str(tmp_path / "engines")), "not what was copied"
    assert list((tmp_path / "engines").iterdir()) == []


def test_leftovers_of_a_living_process_are_left_alone(tmp_path: Path) -> None:
    mine, dead = tmp_path / f".cpu.{os.getppid()}.partial", tmp_path / ".cpu.999999999.partial"
    mine.mkdir()
    dead.mkdir()
    with staged(tmp_path / "cpu"):
        assert mine.exists()
        assert not dead.exists()


PLAN = EngineManifest(
    target="a100",
    backend="tensorrt_rtx",
    backend_version="1.7.1",
    compute_capability=(8, 0),
    file="engine.plan",
    file_digest="0" * 64,
    bytes=4,
    precision="int8",
    profile=ShapeProfile({}),
    inputs=(),
    outputs=(),
)


@pytest.mark.parametrize(
    ("runtime", "words"),
    [
        (Runtime("tensorrt_rtx", "1.7.1", None), "no NVIDIA GPU"),
        (Runtime("tensorrt_rtx", "1.7.1", (7, 5)), "built for SM80, this GPU is SM75"),
        (Runtime("tensorrt_rtx", "1.8.0", (8, 0)), "this machine has tensorrt_rtx 1.8.0"),
        (Runtime("tensorrt", "1.7.1", (8, 0)), "this machine has tensorrt 1.7.1"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_before_it_is_read(tmp_path: Path, runtime: Runtime, words: str) -> None:
    (tmp_path / "engine.plan").write_bytes(b"plan")
    check_loadable(PLAN, tmp_path, Runtime("tensorrt_rtx", "1.7.1", (8, 0)))
    with pytest.raises(EngineError, match=words) as caught:
        check_loadable(PLAN, tmp_path, runtime)
    assert "--target a100" in caught.value.fix


def test_a_gpu_without_a_name_is_rebuilt_as_native() -> None:
    assert "--target native" in replace(PLAN, target="sm86").rebuild


def test_a_truncated_or_changed_plan_is_refused(tmp_path: Path) -> None:
    fits = Runtime("tensorrt_rtx", "1.7.1", (8, 0))
    with pytest.raises(EngineError, match="missing"):
        check_loadable(PLAN, tmp_path, fits)
    (tmp_path / "engine.plan").write_bytes(b"pla")
    with pytest.raises(EngineError, match="damaged: 3 bytes"):
        check_loadable(PLAN, tmp_path, fits)
    (tmp_path / "engine.plan").write_bytes(b"abcd")
    with pytest.raises(EngineError, match="changed since"):
        check_digest(PLAN, tmp_path)


def test_opening_a_plan_without_a_gpu_says_where_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.open.used_gpu", lambda: None)
    (tmp_path / "engine.plan").write_bytes(b"plan")
    PLAN.save(tmp_path)
    with pytest.raises(EngineError, match="no NVIDIA GPU found"):
        open_engine(tmp_path)


def test_opening_what_is_no_engine_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"engine\.json"):
        open_engine(tmp_path)
