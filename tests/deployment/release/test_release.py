"""A bundle handed over: archive, OCI artifact, card, registry entry, signature."""

from __future__ import annotations

import errno
import hashlib
import json
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import pytest

from benchmarks.accuracy.task_metric import TaskAccuracy
from benchmarks.measurement import Verdict
from benchmarks.report.model import (
    AccuracySummary,
    LoadgenSummary,
    ModelSummary,
    OutputFidelity,
    Percentiles,
    PrecisionSummary,
    Report,
    TargetSummary,
)
from deployment.release.artifact import write_archive, write_oci_layout
from deployment.release.card import cell, model_card
from deployment.release.registry import log_to_mlflow, registry_entry
from deployment.release.signature import check_signature, sign
from graphs.errors import BadInput, EnginewrightError
from optimizer.bundle import Bundle
from optimizer.verbs.deploy.release import write_release

FILES = {"manifest.json": b"{}", "engines/cpu/model.onnx": b"graph", "copy.onnx": b"graph"}
OUTPUT = OutputFidelity(cosine=0.999, sqnr_db=30.0, max_abs=0.1, agreement=0.98)
CPU = TargetSummary(
    "onnxruntime", "measured", latency_ms=Percentiles(1.0, 1.2, 1.5), throughput=900.0, accuracy={"y": OUTPUT}
)
T4 = TargetSummary("tensorrt", "built", reason="no T4 | here", accuracy={"y": OUTPUT}, accuracy_simulated=True)


def report(**changes: Any) -> Report:
    made: dict[str, Any] = {
        "status": "ok",
        "verdict": Verdict(True),
        "calibrated": True,
        "model": ModelSummary("net|<b>.onnx", "ab12", 1000, 2000, 4000),
        "precision": PrecisionSummary("int8", {"int8": 3}, 0.9),
        "accuracy": AccuracySummary(64, {"y": OUTPUT}, TaskAccuracy("top-1", 0.9, 0.89, 0.01, (0.0, 0.02), 64)),
        "targets": {"cpu": CPU, "t4": T4},
        "loadgen": {
            "cpu": {
                "offline": LoadgenSummary(True, "samples per second", 880.0),
                "server": LoadgenSummary(False, "queries per second", 3.0),
            }
        },
        "plaster": None,
        "timings": {},
        "peak_rss_mb": None,
    }
    return Report(**{**made, **changes})


@pytest.fixture
def bundle(tmp_path: Path) -> dict[str, Path | bytes]:
    for name, content in FILES.items():
        (tmp_path / "bundle" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bundle" / name).write_bytes(content)
    return {"MODEL_CARD.md": b"# card", **{name: tmp_path / "bundle" / name for name in FILES}}


def test_the_same_bundle_gives_the_same_archive(bundle: dict[str, Path | bytes], tmp_path: Path) -> None:
    first, sums = write_archive(bundle, tmp_path / "a", "net")
    (tmp_path / "bundle" / "copy.onnx").touch()
    second, _ = write_archive(bundle, tmp_path / "b", "net")
    assert first.read_bytes() == second.read_bytes()
    assert sums.read_text() == f"{hashlib.sha256(first.read_bytes()).hexdigest()}  net.tar.gz\n"
    with tarfile.open(first) as tar:
        held = {name: tar.extractfile(f"net/{name}") for name in FILES}
        assert {name: file.read() for name, file in held.items() if file is not None} == FILES


@pytest.mark.parametrize("full", ["tar.gz", "SHA256SUMS"])
def test_a_full_disk_leaves_nothing(
    full: str, bundle: dict[str, Path | bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a folder nor an archive without its line in the checksums."""
    opened = Path.open

    def no_space(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if "w" in mode and full in path.name:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return opened(path, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", no_space)
    with pytest.raises(OSError, match="No space left"):
        write_archive(bundle, tmp_path / "a" / "b", "net")
    assert not (tmp_path / "a").exists()


def test_an_oci_layout_holds_what_its_digests_say(bundle: dict[str, Path | bytes], tmp_path: Path) -> None:
    write_oci_layout(bundle, {}, tmp_path / "oci", "net", {"a": "b"})

    def blob(described: dict[str, Any]) -> bytes:
        kind, digest = described["digest"].split(":")
        content = (tmp_path / "oci" / "blobs" / kind / digest).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest and len(content) == described["size"]
        return content

    assert json.loads((tmp_path / "oci" / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (described,) = json.loads((tmp_path / "oci" / "index.json").read_text())["manifests"]
    manifest = json.loads(blob(described))
    assert blob(manifest["config"]) == b"{}" and manifest["annotations"] == {"a": "b"}
    restored = {layer["annotations"]["org.opencontainers.image.title"]: blob(layer) for layer in manifest["layers"]}
    assert restored == {**FILES, "MODEL_CARD.md": b"# card"}


def test_a_card_says_what_was_measured_and_escapes_names() -> None:
    text = model_card(report(), "net_1")
    assert "# net\\_1" in text and "net\\|&lt;b&gt;.onnx" in text
    assert "| top-1 | 0.9000 | 0.8900 | 0.01" in text
    assert "built: no T4 \\| here" in text and "| cpu | int8 | 1.00 ms | 1.50 ms | 900 /s |" in text
    assert "Not calibrated" not in text and cell("a\nb") == "a b"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"status": "over_budget", "verdict": Verdict(False, ("drops 3 %",))},
            "**Over the accuracy budget:** drops 3 %",
        ),
        ({"calibrated": False}, "**Not calibrated:**"),
        ({"accuracy": None}, "Not measured."),
    ],
)
def test_a_card_does_not_hide_what_went_wrong(changes: dict[str, Any], said: str) -> None:
    assert said in model_card(report(**changes), "net")


def test_a_card_tells_an_exact_output_and_one_that_failed_from_a_close_one() -> None:
    same = OutputFidelity(cosine=1.0, sqnr_db=200.0, max_abs=0.0, agreement=1.0)
    outputs = {"y": OUTPUT, "same": same, "odd": replace(same, max_abs=None, failure="NaN where FP32 has none")}
    text = model_card(report(accuracy=AccuracySummary(64, outputs, None)), "net")
    assert "| y | 30.0 dB | 0.99900 |" in text and "| same | exact | 1.00000 |" in text and "| odd | failed |" in text


def test_no_output_takes_anothers_place_in_a_registry() -> None:
    """Their names may differ in what a registry does not take."""
    target = replace(CPU, accuracy={"a:b": OUTPUT, "a;b": replace(OUTPUT, sqnr_db=20.0)})
    metrics = registry_entry(report(targets={"cpu": target}), "net").metrics
    assert (metrics["cpu/accuracy/a_b/sqnr_db"], metrics["cpu/accuracy/a_b/sqnr_db_2"]) == (30.0, 20.0)


def test_a_registry_gets_measured_figures_alone() -> None:
    metrics = registry_entry(report(), "net").metrics
    assert metrics["cpu/p99_ms"] == 1.5 and metrics["cpu/loadgen/offline"] == 880.0
    assert "cpu/loadgen/server" not in metrics, "that run was not valid"
    assert metrics["t4/simulated/y/sqnr_db"] == 30.0 and "t4/accuracy/y/sqnr_db" not in metrics
    assert metrics["task/top-1_drop"] == 0.01


def test_mlflow_takes_an_entry(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'runs.db'}")
    with mlflow.start_run() as run:
        log_to_mlflow(registry_entry(report(), "net"), str(tmp_path / "bundle"))
    assert mlflow.get_run(run.info.run_id).data.metrics["cpu/p99_ms"] == 1.5


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization as to
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, to.NoEncryption())
    public = key.public_key().public_bytes(to.Encoding.PEM, to.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(private)
    (tmp_path / "public.pem").write_bytes(public)
    return tmp_path / "key.pem", tmp_path / "public.pem"


def test_a_signature_is_of_these_bytes(keys: tuple[Path, Path], tmp_path: Path) -> None:
    manifest, signature = tmp_path / "manifest.json", tmp_path / "manifest.json.sig"
    manifest.write_bytes(b"{}")
    signature.write_bytes(sign(manifest, keys[0]))
    check_signature(manifest, signature, keys[1])
    manifest.write_bytes(b"{ }")
    with pytest.raises(EnginewrightError, match=r"not of this manifest\.json"):
        check_signature(manifest, signature, keys[1])


def test_what_is_no_key_is_refused_with_how_to_make_one(keys: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(b"{}")
    for wrong, said in ((keys[1], "no private key"), (tmp_path / "none.pem", "No such file")):
        with pytest.raises(BadInput, match=said) as error:
            sign(tmp_path / "manifest.json", wrong)
        assert "openssl genpkey" in str(error.value)
    with pytest.raises(BadInput, match="no signature"):
        check_signature(tmp_path / "manifest.json", tmp_path / "none.sig", keys[1])


def test_openssl_checks_what_is_signed(keys: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(b"{}")
    (tmp_path / "sig").write_bytes(sign(tmp_path / "manifest.json", keys[0]))
    words = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(keys[1]), "-rawin"]
    files = ["-in", str(tmp_path / "manifest.json"), "-sigfile", str(tmp_path / "sig")]
    try:
        done = subprocess.run([*words, *files], capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl")
    assert done.returncode == 0, done.stderr


def test_a_folder_of_other_things_is_not_replaced(bundle: dict[str, Path | bytes], tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(BadInput, match="other files in it"):
        write_oci_layout(bundle, {}, tmp_path / "home", "net", {})
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years of work"
    write_oci_layout(bundle, {}, tmp_path / "oci", "net", {})
    write_oci_layout(bundle, {}, tmp_path / "oci", "net", {})


def test_a_bundle_whose_weights_lie_beside_its_model_can_still_be_read(tmp_path: Path) -> None:
    """Data with several hard links is refused by onnx, under the bundle's name as well as the layout's."""
    graph = """<ir_version: 9, opset_import: ["" : 17]>
        g (float[n, 2] x) => (float[n, 2] y) <float[2, 2] w = {1, 2, 3, 4}> { y = MatMul (x, w) }"""
    model = tmp_path / "model.onnx"
    ir.save(ir.from_onnx_text(graph), model, external_data="w.bin", size_threshold_bytes=0)
    write_oci_layout({"model.onnx": model, "w.bin": tmp_path / "w.bin"}, {}, tmp_path / "oci", "net", {})
    onnx.load(model)


def test_checksums_of_other_archives_stay(bundle: dict[str, Path | bytes], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    latin = f"{'0' * 64}  größe.zip".encode("latin-1")
    (tmp_path / "out" / "SHA256SUMS").write_bytes(latin + b"\n")
    for name in ("a", "b", "a"):
        write_archive(bundle, tmp_path / "out", name)
    first, *others = (tmp_path / "out" / "SHA256SUMS").read_bytes().splitlines()
    assert first == latin
    lines = [line.decode() for line in others]
    found = {
        name: hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() for name in ("a.tar.gz", "b.tar.gz")
    }
    assert sorted(lines) == sorted(f"{digest}  {name}" for name, digest in found.items())


@pytest.mark.parametrize("name", ["../net", "a/b", "..", "", "a\nb"])
def test_a_name_is_no_path(name: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(BadInput, match="no name of a file"):
        write_release(Bundle(tmp_path), "archive", tmp_path / "out", name)


def test_the_name_of_an_oci_artifact_is_a_tag(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(BadInput, match=r"'-my net \(1\)' is no tag\n.*\nfix: --name my_net_1_"):
        write_release(Bundle(tmp_path), "oci", tmp_path / "out", "-my net (1)")


def test_the_working_folder_is_not_exchanged(
    bundle: dict[str, Path | bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(BadInput, match="the name of a folder"):
        write_oci_layout(bundle, {}, Path(), "net", {})
