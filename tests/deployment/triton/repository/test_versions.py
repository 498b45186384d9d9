"""What is written into a repository where models are already: versions beside others, the same again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deployment.triton.repository.config import RateLimit
from deployment.triton.repository.options import TritonOptions
from deployment.triton.repository.write import write_triton_repository
from deployment.triton.server.options import server_options
from graphs.errors import BadInput

AddEngine = Callable[..., Path]


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_version_is_added_to_a_model_that_it_fits(bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    plan = add_engine("t4", "tensorrt") / "engine.plan"
    repo = tmp_path / "repo"
    write_triton_repository(bundle, repo, name="net", options=TritonOptions(keep_versions=2))
    config = (repo / "net/config.pbtxt").read_bytes()
    plan.unlink()  # not over the file that version 1 is linked to
    plan.write_bytes(b"engine of t4, anew")
    write_triton_repository(bundle, repo, name="net", options=TritonOptions(version=2))
    assert tree(repo) == ["net/1/model.plan", "net/2/model.plan", "net/config.pbtxt"]
    assert (repo / "net/2/model.plan").read_bytes() == b"engine of t4, anew"
    assert (repo / "net/1/model.plan").read_bytes() == b"engine of t4"
    assert (repo / "net/config.pbtxt").read_bytes() == config
    with pytest.raises(BadInput, match="already there") as error:
        write_triton_repository(bundle, repo, name="net", options=TritonOptions(version=2))
    assert "--model-version 3" in error.value.fix
    with pytest.raises(BadInput, match="another max_batch_size"):
        write_triton_repository(bundle, repo, name="net", options=TritonOptions(version=3, max_batch=8))
    assert not (repo / "net/3").exists()


def test_a_version_beside_others_is_served_as_they_are(bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    plan = add_engine("t4", "tensorrt") / "engine.plan"
    asked = TritonOptions(instances=2, response_cache=True, rate_limit=RateLimit({"memory": 3}, 2), queue_delay_us=70)
    [first] = write_triton_repository(bundle, tmp_path, name="net", options=asked)
    plan.unlink()
    plan.write_bytes(b"engine of t4, anew")
    [second] = write_triton_repository(bundle, tmp_path, name="net", options=TritonOptions(version=2))
    assert second.config == replace(first.config, origins={})
    assert server_options([second.config]) == server_options([first.config])  # it is started as for the first
    again = replace(asked, version=3)
    write_triton_repository(bundle, tmp_path, name="net", options=again)  # what is so already may be said
    for option, other in {
        "--instances": TritonOptions(version=4, instances=4),
        "--queue-delay": TritonOptions(version=4, queue_delay_us=5),
        "--keep-versions": TritonOptions(version=4, keep_versions=2),
        "--cuda-graphs": TritonOptions(version=4, cuda_graphs=True),
        "--rate-limit": TritonOptions(version=4, rate_limit=RateLimit({"memory": 4})),
    }.items():
        with pytest.raises(BadInput, match=f"{option}: changes nothing: a version beside others keeps"):
            write_triton_repository(bundle, tmp_path, name="net", options=other)
    assert not (tmp_path / "net/4").exists()


def test_a_version_of_several_models_is_that_of_each(bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    folders = [add_engine("t4", "tensorrt"), add_engine("cpu", "onnxruntime")]
    write_triton_repository(bundle, repo, name="net")
    for folder, file in zip(folders, ("engine.plan", "model.onnx"), strict=True):
        (folder / file).unlink()
        (folder / file).write_bytes(f"{file}, anew".encode())
    write_triton_repository(bundle, repo, name="net", options=TritonOptions(version=2))
    assert tree(repo / "net/2") == ["model.plan"] and tree(repo / "net_cpu/2") == ["model.onnx"]
    assert (repo / "net/2/model.plan").read_bytes() == b"engine.plan, anew"
    assert (repo / "net_cpu/2/model.onnx").read_bytes() == b"model.onnx, anew"


def test_a_model_already_there_is_kept(bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    add_engine("cpu", "onnxruntime")
    repo = tmp_path / "repo"
    write_triton_repository(bundle, repo, name="net")
    with pytest.raises(BadInput, match="already there"):
        write_triton_repository(bundle, repo, name="net", options=TritonOptions(instances=2))
    (bundle / "engines/cpu/model.onnx").write_bytes(b"another engine")
    with pytest.raises(BadInput, match="already there"):
        write_triton_repository(bundle, repo, name="net")
    assert tree(repo) == ["net/1/model.onnx", "net/config.pbtxt"]


def test_the_same_command_again_changes_nothing(bundle: Path, add_engine: AddEngine, tmp_path: Path) -> None:
    """A server may poll the folder; and a check is asked for once the repository is written."""
    pytest.importorskip("tritonclient")
    add_engine("cpu", "onnxruntime")
    repo = tmp_path / "repo"
    first = write_triton_repository(bundle, repo, name="net")
    times = {path: path.stat().st_mtime_ns for path in repo.rglob("*")}
    again = write_triton_repository(bundle, repo, name="net")
    assert {path: path.stat().st_mtime_ns for path in repo.rglob("*")} == times
    assert [model.config for model in again] == [model.config for model in first]
