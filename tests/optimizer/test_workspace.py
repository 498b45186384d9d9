"""The folder a bundle grows in belongs to one job; a finished bundle answers one request, code included."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graphs.errors import EnginewrightError
from optimizer.bundle import Bundle, BundleManifest, Workspace
from optimizer.finished import request_key
from optimizer.settings.job import Settings


def leave_unfinished(out: Path, key: str) -> None:
    workspace = Workspace(out, key)
    with workspace.opened(force=False):
        plan = workspace.path / "engines" / "t4" / "engine.plan"
        plan.parent.mkdir(parents=True)
        plan.write_text("old")
        measured = workspace.stage_folder("build", shared=False)
        measured.mkdir(parents=True)
        (measured / "stage.json").write_text("{}")


def test_the_same_job_takes_up_what_is_there(tmp_path: Path) -> None:
    leave_unfinished(tmp_path / "out", "job")
    workspace = Workspace(tmp_path / "out", "job")
    with workspace.opened(force=False):
        assert (workspace.stage_folder("build", shared=False) / "stage.json").is_file()
        assert (workspace.path / "engines" / "t4" / "engine.plan").is_file()


@pytest.mark.parametrize(("key", "force"), [("another job", False), ("job", True)])
def test_nothing_of_another_job_is_published(tmp_path: Path, key: str, force: bool) -> None:
    leave_unfinished(tmp_path / "out", "job")
    workspace = Workspace(tmp_path / "out", key)
    with workspace.opened(force=force):
        assert not workspace.stage_folder("build", shared=False).exists()
        (workspace.path / "model.onnx").write_text("new")
        bundle = workspace.publish(BundleManifest(key, "", "", "", {}))
    assert set(bundle.manifest.files) == {"model.onnx"}
    assert not (tmp_path / "out" / "engines").exists()


def test_an_edited_metric_is_another_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.onnx").write_bytes(b"any bytes")
    Path("score.py").write_text("def top1(infer): return 1.0")
    asked = Settings(evaluate="score.py:top1")
    first = request_key(Path("model.onnx"), asked)
    assert request_key(Path("model.onnx"), asked) == first
    Path("score.py").write_text("def top1(infer): return 0.5")
    assert request_key(Path("model.onnx"), asked) != first


def test_a_rebuilt_plugin_is_another_request(tmp_path: Path) -> None:
    library, other = tmp_path / "a.so", tmp_path / "b.so"
    library.write_bytes(b"1"), other.write_bytes(b"1")
    asked = Settings(builder_options=(f"plugins={library}{os.pathsep}{other}",))
    first = asked.digest()
    other.write_bytes(b"2")
    assert asked.digest() != first
    assert asked.digest("seed") == Settings().digest("seed")


def test_one_run_at_a_time(tmp_path: Path) -> None:
    first, second = Workspace(tmp_path / "out", "job"), Workspace(tmp_path / "out", "job")
    with first.opened(False), pytest.raises(EnginewrightError, match="another run"), second.opened(False):
        pass
    with second.opened(False):
        pass


def test_a_run_killed_while_publishing_leaves_the_bundle_before_it(tmp_path: Path) -> None:
    first, second = Workspace(tmp_path / "out", "job"), Workspace(tmp_path / "out", "another job")
    with first.opened(force=False):
        bundle = first.publish(BundleManifest("job", "", "", "", {}))
    bundle.path.rename(tmp_path / "out.old")
    with second.opened(force=False):
        assert Bundle(tmp_path / "out").manifest.key == "job"
