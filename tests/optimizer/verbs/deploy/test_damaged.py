"""Nothing is handed over that is not what the bundle was made with."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployment.triton.repository.containers import CONTAINERS
from deployment.triton.repository.options import TritonOptions
from graphs.digests import sha256_file
from graphs.errors import BadInput
from graphs.files import write_json
from optimizer.bundle import BundleManifest
from optimizer.verbs.deploy.bundle import deploy_bundle
from optimizer.verbs.deploy.kubernetes import ClusterOptions
from optimizer.verbs.deploy.mig import MigRequest
from optimizer.verbs.deploy.table import CLUSTERS, REPOSITORIES, SYSTEMS

GRAPH, ENGINE, PLAN, REPORT = "model.onnx", "engines/a100/engine.json", "engines/a100/engine.plan", "report.json"
HANDED = {**dict.fromkeys(REPOSITORIES, (GRAPH, ENGINE, PLAN)), "tensorrt8": (GRAPH, ENGINE), "mig": (ENGINE, REPORT)}
HANDED |= {"archive": (GRAPH, ENGINE, PLAN, REPORT), "oci": (GRAPH, PLAN), "card": (REPORT,), "registry": (REPORT,)}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "net.optimized"
    for name in (GRAPH, ENGINE, PLAN, REPORT):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    files = {name: sha256_file(folder / name) for name in (GRAPH, ENGINE, PLAN, REPORT)}
    write_json(folder / "manifest.json", BundleManifest("", "", "", "", {}, files))
    return folder


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(("system", "file"), [(system, file) for system in SYSTEMS for file in HANDED[system]])
def test_a_damaged_file_is_named_and_nothing_is_written(system: str, file: str, missing: bool, bundle: Path) -> None:
    (bundle / file).unlink() if missing else (bundle / file).write_text("{ }")
    out = bundle.with_name("out")
    cluster = ClusterOptions("pvc://models/net") if system in CLUSTERS else None
    triton = TritonOptions(container=CONTAINERS["25.06"]) if system in REPOSITORIES else None
    mig = MigRequest("a100-40gb", load=1) if system == "mig" else None
    words = "no engine for target" if missing and system == "mig" and file == ENGINE else f"changed or missing .*{file}"
    with pytest.raises(BadInput, match=words):
        deploy_bundle(bundle, system, out, cluster=cluster, triton=triton, mig=mig)
    assert not out.exists()


def test_what_is_not_handed_over_is_not_looked_at(bundle: Path) -> None:
    """As where the other GPUs' engines were left out to save room."""
    (bundle / ENGINE).write_text("{ }")
    with pytest.raises(BadInput, match="no engine for 'cpu'"):
        deploy_bundle(bundle, "triton", bundle.with_name("out"), targets=["cpu"])
