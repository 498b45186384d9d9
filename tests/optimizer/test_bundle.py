"""A finished bundle: found again by its job or its request, its damage named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engines.targets.target import TARGETS
from graphs.errors import BadInput
from optimizer.bundle import Bundle, BundleManifest, Workspace, finished_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    workspace = Workspace(tmp_path / "m.optimized", "job")
    with workspace.opened(force=False):
        for name in ("model.onnx", "engines/cpu/engine.json", "engines/t4/engine.json"):
            file = workspace.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(name)
        return workspace.publish(BundleManifest("job", "", "", "", {}, request="request"))


def test_a_job_and_a_request_find_it(bundle: Bundle) -> None:
    assert finished_bundle(bundle.path, "job") == finished_bundle(bundle.path, request="request") == bundle
    assert finished_bundle(bundle.path, "another") is None
    assert finished_bundle(bundle.path, "job", request="another") is None
    assert finished_bundle(bundle.path.parent / "none", "job") is None


def test_one_that_lacks_a_file_is_not_finished(bundle: Bundle) -> None:
    (bundle.path / "model.onnx").unlink()
    assert finished_bundle(bundle.path, "job") is None
    assert bundle.damaged_files() == ["model.onnx"]


def test_changed_files_are_named(bundle: Bundle) -> None:
    assert bundle.damaged_files() == []
    (bundle.path / "engines" / "t4" / "engine.json").write_text("edited")
    assert bundle.damaged_files() == ["engines/t4/engine.json"]


def test_targets_and_what_is_no_target(bundle: Bundle) -> None:
    assert bundle.targets() == ["cpu", "t4"]
    with pytest.raises(BadInput, match="no engine for target 'a100'") as caught:
        bundle.engine_directory("a100")
    assert caught.value.expected == "one of: cpu, t4"


def test_native_is_the_gpu_in_use(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.targets.gpus_here.native_target", lambda: TARGETS["t4"])
    assert bundle.engine_directory("native") == bundle.engine_directory("t4")
    monkeypatch.setattr("engines.targets.gpus_here.native_target", lambda: None)
    with pytest.raises(BadInput, match="no NVIDIA GPU found"):
        bundle.engine_directory("native")


def test_the_usual_engine_is_one_that_runs_here(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizer.bundle.native_target", lambda: TARGETS["t4"])
    assert bundle.usual_target() == "cpu"
    shutil.rmtree(bundle.path / "engines" / "cpu")
    (bundle.path / "engines" / "a100").mkdir()
    (bundle.path / "engines" / "a100" / "engine.json").write_text("{}")
    assert bundle.usual_target() == "t4"
    monkeypatch.setattr("optimizer.bundle.native_target", lambda: None)
    assert bundle.usual_target() == "a100", "none runs here: it is opened, and says where it would"


def test_none_is_made_inside_another(bundle: Bundle) -> None:
    """Making the outer one again would remove it; a ``manifest.json`` of another program's is no reason."""
    inside = Workspace(bundle.path / "runs" / "new", "job")
    with pytest.raises(BadInput, match="lies inside the bundle"), inside.opened(force=False):
        pass
    assert not (bundle.path / "runs").exists()
    (bundle.path / "manifest.json").write_text('{"files": "of another program"}')
    with Workspace(bundle.path / "new", "job").opened(force=False):
        pass


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such bundle"):
        Bundle(tmp_path / "none")
    with pytest.raises(BadInput, match="is not a bundle"):
        Bundle(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(BadInput, match=r"manifest\.json"):
        _ = Bundle(tmp_path).manifest


def test_a_folder_of_the_users_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(BadInput, match="exists and is not a bundle"), Workspace(tmp_path / "mine", "job").opened(True):
        pass
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
