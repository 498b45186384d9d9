"""``optimize update``: the bundle of a retrained model, by what the one before keeps."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from rich.console import Console

from benchmarks.report.text import summarise
from graphs.digests import sha256_file
from graphs.errors import BadInput
from optimizer import compare, optimize, update, verify
from optimizer.bundle import MANIFEST, STRUCTURE, Bundle
from optimizer.kept import read_kept
from tests.end_to_end.conftest import cnn

SETTINGS: dict[str, Any] = {"data": "data.npz", "targets": ["cpu", "a100"], "cpu_form": "int8", "loadgen": ()}


def retrained(change: Callable[[np.ndarray], np.ndarray], *, renamed: bool = False) -> onnx.ModelProto:
    """The model of ``cnn`` with other weights; ``renamed``: with other names inside, as another export gives them."""
    model = cnn()
    for tensor in model.graph.initializer:
        values = change(onnx.numpy_helper.to_array(tensor))
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), tensor.name))
    if renamed:
        inner = [t.name for t in model.graph.initializer] + [o for node in model.graph.node[:-1] for o in node.output]
        names = {name: f"renamed_{number}" for number, name in enumerate(inner)}
        for tensor in model.graph.initializer:
            tensor.name = names[tensor.name]
        for number, node in enumerate(model.graph.node):
            node.name = f"Op_{number}"
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
        del model.graph.value_info[:]
    return model


def noisy(weight: np.ndarray) -> np.ndarray:
    """2 % of its own spread: what a little more training changes."""
    return weight + 0.02 * weight.std() * np.random.default_rng(3).standard_normal(weight.shape)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``cnn.onnx``, its data and its bundle."""
    folder = tmp_path_factory.mktemp("first")
    onnx.save(cnn(), folder / "cnn.onnx")
    samples = np.random.default_rng(1).standard_normal((48, 3, 16, 16)).astype(np.float32)
    np.savez(folder / "data.npz", input=samples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINEWRIGHT_CACHE", str(folder / ".cache"))
        patch.chdir(folder)
        assert optimize("cnn.onnx", **SETTINGS).report.status == "ok"
    return folder


@pytest.fixture
def bundle(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in the working folder."""
    shutil.copytree(first, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cnn.optimized"


def test_a_retrained_model_takes_over_what_still_fits(bundle: Path) -> None:
    onnx.save(
        retrained(noisy, renamed=True),
        "new.onnx",
        save_as_external_data=True,
        location="new.data",
        size_threshold=0,
    )
    stages: list[str] = []
    made = update(bundle, "new.onnx", listeners=[lambda event: stages.append(getattr(event, "stage", ""))])
    report, told = made.report, made.report.update
    assert report.status == "ok" and told is not None
    assert {form: check.kept for form, check in told.calibration.items()} == {"model.onnx": True, "cpu": True}
    assert told.bundle == "cnn.optimized" and told.seconds > 0 and told.same_machine
    assert "again-tensorrt" in stages and "calibrate-tensorrt" not in stages and "calibrate-cpu" not in stages
    old, new = Bundle(bundle), Bundle(made.bundle)
    for target in (None, "cpu"):
        before, after = old.plan(target).nodes, new.plan(target).nodes
        assert {name: node.dtype for name, node in before.items()} == {name: node.dtype for name, node in after.items()}
    assert json.loads((old.path / STRUCTURE).read_text()) == json.loads((new.path / STRUCTURE).read_text())
    assert old.manifest.model_digest == told.model_digest != new.manifest.model_digest
    assert report.accuracy is not None and (report.accuracy.outputs["logits"].sqnr_db or 0) > 20
    cpu = report.targets["cpu"]  # which form is faster is known: it alone is timed
    assert cpu.latency_ms is not None and cpu.kept_precision == "int8" and cpu.fp32_latency_ms is None
    learning, size = report.plaster.rate_of_learning.how, report.plaster.size.how
    assert "update" in learning and "nothing cached" not in learning and "weights do not change it" in size
    assert verify(made.bundle).ok and compare(bundle, made.bundle, samples=4, fail_if=["size>+20%"]).ok
    again = update(made.bundle, "new.onnx", out="third.optimized")  # an updated bundle can be updated
    assert again.report.update is not None and all(c.kept for c in again.report.update.calibration.values())
    page = (made.bundle / "report.html").read_text()
    assert "cnn.optimized" in page and "kept: " in page


METRIC = """
import numpy as np

def positive(infer):
    inputs = np.random.default_rng(5).standard_normal((COUNT, 3, 16, 16)).astype(np.float32)
    asked = [infer({"input": inputs[k : k + 30]})["logits"].max(1) > 0 for k in range(0, COUNT, 30)]
    scores = np.concatenate(asked).astype(float)
    return {"metric": "positive", "value": float(scores.mean()), "per_sample": scores}
"""


@pytest.mark.parametrize(
    ("count", "everything", "said"), [(3600, False, "by 720 of 3,600 samples"), (3600, True, ""), (300, False, "")]
)
def test_the_metric_is_taken_on_as_many_samples_as_the_budget_needs(
    bundle: Path, count: int, everything: bool, said: str
) -> None:
    Path("metric.py").write_text(METRIC.replace("COUNT", str(count)))
    onnx.save(retrained(noisy), "new.onnx")
    made = update(bundle, "new.onnx", evaluate="metric.py:positive", all_samples=everything)
    text = io.StringIO()
    task = made.report.accuracy.task if made.report.accuracy is not None else None
    assert task is not None and task.samples == count
    summarise(made.report, Console(file=text, width=300))
    for told in (text.getvalue(), (made.bundle / "report.html").read_text()):
        assert said in told and ("% with 95 % confidence, by" in told) == bool(said)


def test_ranges_that_no_longer_fit_are_found_anew(bundle: Path) -> None:
    onnx.save(retrained(lambda weight: 2.0 * weight), "new.onnx")
    made = update(bundle, "new.onnx")
    told = made.report.update
    assert told is not None and not any(check.kept for check in told.calibration.values())
    assert all("ranges moved" in check.why for check in told.calibration.values())
    assert sum("calibrated again for" in warning for warning in made.report.warnings) == 2
    fresh = optimize("new.onnx", out="fresh", **SETTINGS)
    assert made.report.accuracy == fresh.report.accuracy
    assert Bundle(made.bundle).plan().nodes == Bundle(fresh.bundle).plan().nodes


def test_what_is_over_the_budget_is_calibrated_anew(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle whose ranges are wrong, though they are of activations that reach as far as they did; on another
    processor, where the CPU's forms are both made, timed and chosen from anew.
    """
    monkeypatch.setattr("optimizer.kept.cpu_name", lambda: "another processor")
    table = json.loads((bundle / "calibration.json").read_text())
    for found in table["tensors"].values():
        found.update({end: found[end] / 50 for end in ("low", "high", "amax")})
    choices = json.loads((bundle / "quantization.json").read_text())
    manifest = json.loads((bundle / MANIFEST).read_text())
    for name, content in (("calibration.json", table), ("quantization.json", {**choices, "noise": None})):
        (bundle / name).write_text(json.dumps(content))
        manifest["files"][name] = sha256_file(bundle / name)
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    onnx.save(retrained(noisy), "new.onnx")
    made = update(bundle, "new.onnx")
    told = made.report.update
    assert made.report.status == "ok" and told is not None and told.calibration["cpu"].kept
    assert told.calibration["model.onnx"].sentence.startswith("made again: output 'logits' has cosine similarity")
    assert "calibrate-tensorrt" in made.report.timings and "calibrate-cpu" not in made.report.timings
    cpu = made.report.targets["cpu"]
    assert not told.same_machine and cpu.fp32_latency_ms is not None and "host memory" in made.report.plaster.size.how
    assert told.cpu_why == "" and read_kept(made.bundle, {}).cpu_why == cpu.why != ""


def test_another_graph_is_refused(bundle: Path) -> None:
    model = cnn()
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type = "Sigmoid"
    onnx.save(model, "new.onnx")
    with pytest.raises(BadInput, match="is a Sigmoid"):
        update(bundle, "new.onnx")
    assert not list(bundle.parent.glob("new.optimized*"))


def test_bundles_that_cannot_be_updated(bundle: Path) -> None:
    with pytest.raises(BadInput, match="is the bundle that is updated"):
        update(bundle, "cnn.onnx")
    manifest = json.loads((bundle / MANIFEST).read_text())
    samples = Path("data.npz").rename("moved.npz")
    with pytest.raises(BadInput, match=r"--data data.npz, which it was made with, is not there"):
        update(bundle, "cnn.onnx", out="other")
    assert read_kept(bundle, {"data": samples}).settings.data == samples
    (bundle / "precision.json").write_text("{}")
    with pytest.raises(BadInput, match=r"precision.json is missing, or not what the manifest says"):
        update(bundle, "cnn.onnx", out="other")
    del manifest["settings"]
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match="kept nothing for an update"):
        update(bundle, "cnn.onnx", out="other")


def test_types_of_the_interface_and_the_reason_for_the_form_are_kept(bundle: Path) -> None:
    onnx.save(retrained(lambda weight: np.where(np.abs(weight) < 0.001, 1e-9, weight)), "cnn.onnx")
    with np.errstate(all="raise"):  # as a notebook may have it: 1e-9 is no float16 number
        first = optimize(
            "cnn.onnx", data="data.npz", precision="fp16", targets=["cpu", "a100"], io_precision="fp16", loadgen=()
        )
    onnx.save(retrained(noisy, renamed=True), "new.onnx")
    second = update(first.bundle, "new.onnx", out="second")
    third = update(second.bundle, "cnn.onnx", out="third")
    whys = [made.report.targets["cpu"].why for made in (first, second, third)]
    assert whys[1:] == [f"as in cnn.optimized: {whys[0]}", f"as in second: {whys[0]}"]
    types = [
        {value.type.tensor_type.elem_type for value in onnx.load(made.bundle / "model.onnx").graph.input}
        for made in (first, third)
    ]
    assert types == [{onnx.TensorProto.FLOAT16}] * 2
