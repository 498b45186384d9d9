"""The Triton model repository: right by Triton's own protocol, read-only on the bundle, whole or absent."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from deployment.triton.repository import write as repository
from deployment.triton.repository.config import RateLimit
from deployment.triton.repository.containers import parse_container
from deployment.triton.repository.options import TritonOptions
from deployment.triton.repository.write import repository_files, write_triton_repository
from engines.engine import TensorSpec
from engines.manifest import BackendName
from engines.profile import ShapeProfile, ShapeRange
from graphs.errors import BadInput
from optimizer.importing.load import import_model
from tests.deployment.triton.triton_proto import parse

AddEngine = Callable[..., Path]
LINEAR = """
<ir_version: 9, opset_import: ["" : 17]>
linear (float[n, 2] x) => (float[n, 2] y) <float[2, 2] w = {1, 2, 3, 4}> { y = MatMul (x, w) }
"""


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_plan_is_served_by_the_tensorrt_backend(bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    add_engine("t4", "tensorrt")
    models = write_triton_repository(bundle, tmp_path / "repo", name="net")
    assert tree(tmp_path / "repo") == ["net/1/model.plan", "net/config.pbtxt"]
    assert repository_files(tmp_path / "repo", models) == sorted(
        path for path in (tmp_path / "repo").rglob("*") if path.is_file()
    )
    assert (tmp_path / "repo/net/1/model.plan").read_bytes() == b"engine of t4"
    config = parse(tmp_path / "repo/net/config.pbtxt")
    assert (config.name, config.platform, config.backend) == ("net", "tensorrt_plan", "tensorrt")
    assert config.max_batch_size == 32
    assert [(t.name, list(t.dims), t.data_type) for t in config.input] == [("input", [3, 224, 224], 11)]
    assert [(t.name, list(t.dims), t.data_type) for t in config.output] == [("logits", [1000], 11)]
    assert list(config.dynamic_batching.preferred_batch_size) == [8, 32]
    assert config.instance_group[0].kind == config.instance_group[0].KIND_GPU
    assert not config.cc_model_filenames


def test_plans_of_several_gpus_are_one_model(bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    for target in ("t4", "a100"):
        add_engine(target, "tensorrt")
    write_triton_repository(bundle, tmp_path, name="net", targets=["a100", "t4"])
    config = parse(tmp_path / "net/config.pbtxt")
    assert dict(config.cc_model_filenames) == {"7.5": "model_t4.plan", "8.0": "model_a100.plan"}
    assert (tmp_path / "net/1/model_a100.plan").read_bytes() == b"engine of a100"


def test_the_cpu_engine_is_a_model_of_its_own(bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    add_engine("cpu", "onnxruntime", data_files=("model.onnx.data",))
    add_engine("t4", "tensorrt")
    write_triton_repository(bundle, tmp_path, name="net")
    config = parse(tmp_path / "net_cpu/config.pbtxt")
    assert (config.platform, config.backend) == ("onnxruntime_onnx", "onnxruntime")
    assert config.instance_group[0].kind == config.instance_group[0].KIND_CPU
    assert (tmp_path / "net_cpu/1/model.onnx.data").is_file()


def test_an_rtx_plan_is_served_as_the_typed_graph(bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    add_engine("t4", "tensorrt_rtx")
    write_triton_repository(bundle, tmp_path / "repo", name="net")
    assert tree(tmp_path / "repo") == ["net/1/model.onnx", "net/config.pbtxt"]
    assert (tmp_path / "repo/net/1/model.onnx").read_bytes() == b"typed graph"
    config = parse(tmp_path / "repo/net/config.pbtxt")
    accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert [accelerator.name for accelerator in accelerators] == ["tensorrt"]
    assert dict(accelerators[0].parameters) == {
        "precision_mode": "INT8",
        "trt_engine_cache_enable": "true",
        "trt_engine_cache_path": "/tmp/trt_engine_cache",
        "trt_profile_min_shapes": "input:1x3x224x224",
        "trt_profile_opt_shapes": "input:8x3x224x224",
        "trt_profile_max_shapes": "input:32x3x224x224",
    }
    assert "TensorRT-RTX" in (tmp_path / "repo/net/config.pbtxt").read_text()


@pytest.mark.parametrize("name", ["input:0", "a,b"])
def test_ranges_are_not_told_of_names_that_onnxruntime_would_part(
    name: str, bundle: Path, add_engine: AddEngine, tmp_path: Path
) -> None:
    profile = ShapeProfile({name: ShapeRange((1, 2), (4, 2), (8, 2))})
    add_engine("t4", "tensorrt_rtx", (TensorSpec(name, "float32", ("n", 2)),), profile=profile)
    write_triton_repository(bundle, tmp_path / "repo", name="net")
    config = parse(tmp_path / "repo/net/config.pbtxt")
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert not [key for key in accelerator.parameters if "profile" in key]
    assert "so TensorRT is told no" in (tmp_path / "repo/net/config.pbtxt").read_text()


def test_token_models_keep_dynamic_dims_and_warm_up_with_zeros(
    bundle: Path, add_engine: AddEngine, tmp_path: Path
) -> None:
    ids = (TensorSpec("ids", "int64", ("batch", "seq")), TensorSpec("mask", "int64", ("batch", "seq")))
    shapes = ShapeRange((1, 16), (4, 128), (16, 384))
    scores = (TensorSpec("score", "float32", ("batch",)),)
    add_engine("t4", "tensorrt", ids, scores, ShapeProfile({"ids": shapes, "mask": shapes}))
    write_triton_repository(bundle, tmp_path, name="bert", options=TritonOptions(max_batch=8))
    config = parse(tmp_path / "bert/config.pbtxt")
    assert [list(tensor.dims) for tensor in config.input] == [[-1], [-1]]
    assert (list(config.output[0].dims), list(config.output[0].reshape.shape)) == ([1], [])
    assert config.output[0].HasField("reshape")
    assert [warmup.batch_size for warmup in config.model_warmup] == [1, 8]
    warm = config.model_warmup[1].inputs["ids"]
    assert (list(warm.dims), warm.zero_data) == ([128], True)


@pytest.mark.parametrize(
    "shapes", [((1, 3, 8, 8), (1, 10)), (("batch", 3, 8, 8), (1, 10)), (("batch", 3, 8, 8), ())], ids=str
)
def test_a_model_without_a_batch_axis_does_not_batch(
    bundle: Path, add_engine: AddEngine, tmp_path: Path, shapes: tuple[tuple[int | str, ...], tuple[int | str, ...]]
) -> None:
    inputs, outputs = shapes
    add_engine("cpu", "onnxruntime", (TensorSpec("x", "float32", inputs),), (TensorSpec("y", "float32", outputs),))
    write_triton_repository(bundle, tmp_path, name="net")
    config = parse(tmp_path / "net/config.pbtxt")
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert list(config.input[0].dims) == [-1 if isinstance(dim, str) else dim for dim in inputs]
    assert outputs or (list(config.output[0].dims), config.output[0].HasField("reshape")) == ([1], False)
    with pytest.raises(BadInput, match="does not batch"):
        write_triton_repository(bundle, tmp_path, name="other", options=TritonOptions(max_batch=4))


def test_names_are_escaped(bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    odd = 'a"b\\c\nd:é}'
    add_engine("cpu", "onnxruntime", (TensorSpec(odd, "float32", ("n", 4)),), profile=ShapeProfile({}))
    write_triton_repository(bundle, tmp_path, name="net")
    config = parse(tmp_path / "net/config.pbtxt")
    assert config.input[0].name == odd
    assert list(config.model_warmup[0].inputs) == [odd]


def test_every_option_reaches_the_configuration(bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    add_engine("t4", "tensorrt")
    write_triton_repository(
        bundle,
        tmp_path,
        name="net",
        options=TritonOptions(
            max_batch=16,
            instances=3,
            queue_delay_us=250,
            cuda_graphs=True,
            keep_versions=2,
            response_cache=True,
            rate_limit=RateLimit({"memory": 2}, priority=3),
        ),
    )
    config = parse(tmp_path / "net/config.pbtxt")
    assert (config.max_batch_size, config.instance_group[0].count) == (16, 3)
    assert config.dynamic_batching.max_queue_delay_microseconds == 250
    assert config.optimization.cuda.graphs
    assert config.version_policy.latest.num_versions == 2
    assert config.response_cache.enable
    limiter = config.instance_group[0].rate_limiter
    assert ([(r.name, r.count) for r in limiter.resources], limiter.priority) == ([("memory", 2)], 3)


def test_the_bundle_is_left_as_it_was(bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    add_engine("cpu", "onnxruntime")
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    write_triton_repository(bundle, tmp_path / "repo", name="net")
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before


def test_plans_are_linked_and_take_no_space(bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    plan = add_engine("t4", "tensorrt") / "engine.plan"
    write_triton_repository(bundle, tmp_path / "repo", name="net")
    assert (tmp_path / "repo/net/1/model.plan").samefile(plan)


@pytest.mark.parametrize(("target", "backend"), [("cpu", "onnxruntime"), ("t4", "tensorrt_rtx")])
def test_a_model_with_external_data_can_be_read_before_and_after(
    bundle: Path, add_engine: AddEngine, tmp_path: Path, target: str, backend: BackendName
) -> None:
    """Data with several hard links is refused by onnx, under the bundle's name as well as the repository's."""
    engine = add_engine(target, backend, data_files=("weights.bin",) if target == "cpu" else ())
    given = (engine if target == "cpu" else bundle) / "model.onnx"
    ir.save(ir.from_onnx_text(LINEAR), given, external_data="weights.bin", size_threshold_bytes=0)
    write_triton_repository(bundle, tmp_path / "repo", name="net")
    for path in (given, tmp_path / "repo/net/1/model.onnx"):
        assert import_model(path).parameters == 4
        onnx.load(path)


def test_engines_are_copied_where_links_are_refused(
    bundle: Path, add_engine: AddEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    add_engine("t4", "tensorrt")
    write_triton_repository(bundle, tmp_path / "repo", name="net")
    copied = tmp_path / "repo/net/1/model.plan"
    assert copied.read_bytes() == b"engine of t4"
    assert copied.stat().st_nlink == 1


def test_a_write_that_fails_leaves_nothing(
    bundle: Path, add_engine: AddEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_engine("cpu", "onnxruntime")
    add_engine("t4", "tensorrt")
    before = sorted(tmp_path.rglob("*"))
    written: list[Path] = []
    real = repository.write_atomically

    def full_at_the_second(path: Path, content: bytes) -> None:
        written.append(path)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        real(path, content)

    monkeypatch.setattr(repository, "write_atomically", full_at_the_second)
    with pytest.raises(BadInput, match="no space left on the disk"):
        write_triton_repository(bundle, tmp_path / "repo", name="net")
    assert len(written) == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_models_are_written_outside_the_repository_that_a_server_polls(
    bundle: Path, add_engine: AddEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    real = repository.write_atomically

    def look(path: Path, content: bytes) -> None:
        seen.append([path.name for path in (tmp_path / "repo").iterdir()])
        real(path, content)

    monkeypatch.setattr(repository, "write_atomically", look)
    add_engine("cpu", "onnxruntime")
    write_triton_repository(bundle, tmp_path / "repo", name="net")
    assert seen == [[]]
    assert [path.name for path in (tmp_path / "repo").iterdir()] == ["net"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": ["l4"]}, "no engine for 'l4'"),
        ({"options": TritonOptions(max_batch=64)}, "profile, which ends at 32"),
        ({"options": TritonOptions(container=parse_container("24.05"))}, "10.13.2's, and Triton 24.05 has 10.0.1.6"),
        ({"name": "../net"}, "no model name"),
        ({"name": 'my "net" (1)'}, r"no model name\n.*\nfix: --name my_net_1"),
        ({"targets": ["h100", "h200"]}, r"two engines for compute capability 9\.0"),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_refused_before_anything_is_written(
    bundle: Path, add_engine: AddEngine, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    for target in ("t4", "h100", "h200"):
        add_engine(target, "tensorrt")
    out = tmp_path / "repo"
    with pytest.raises(BadInput, match=message):
        write_triton_repository(bundle, out, **{"name": "net", "targets": ["t4"], **options})  # type: ignore[arg-type]
    assert not out.exists()


def test_engines_with_other_tensors_are_not_one_model(bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    add_engine("t4", "tensorrt")
    add_engine("a100", "tensorrt", outputs=(TensorSpec("other", "float32", ("batch", 10)),))
    with pytest.raises(BadInput, match="differ in inputs or outputs"):
        write_triton_repository(bundle, tmp_path / "repo", name="net")


def test_a_type_triton_lacks_is_named(bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    add_engine("cpu", "onnxruntime", (TensorSpec("z", "complex64", ("n", 2)),), profile=ShapeProfile({}))
    with pytest.raises(BadInput, match="complex64"):
        write_triton_repository(bundle, tmp_path / "repo", name="net")


def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no bundle with engines"):
        write_triton_repository(tmp_path, tmp_path / "repo", name="net")


def test_a_missing_plan_is_named(bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    (add_engine("t4", "tensorrt") / "engine.plan").unlink()
    with pytest.raises(BadInput, match=r"engine\.plan"):
        write_triton_repository(bundle, tmp_path / "repo", name="net")


def test_a_file_in_the_place_of_a_model_is_named(bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    add_engine("cpu", "onnxruntime")
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "net").write_text("a file")
    with pytest.raises(BadInput, match="is a file"):
        write_triton_repository(bundle, tmp_path / "repo", name="net")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (TritonOptions(cuda_graphs=True), "--cuda-graphs: changes nothing here: no TensorRT plan is served"),
        (TritonOptions(queue_delay_us=100, max_batch=1), "--queue-delay: changes nothing here: no request is joined"),
    ],
)
def test_an_option_that_these_models_have_no_use_for_is_refused(
    options: TritonOptions, told: str, bundle: Path, add_engine: AddEngine, tmp_path: Path
) -> None:
    add_engine("cpu", "onnxruntime")
    with pytest.raises(BadInput, match=told):
        write_triton_repository(bundle, tmp_path / "out", name="net", options=options)
    assert not (tmp_path / "out").exists()
