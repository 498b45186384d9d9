"""A package that only some work needs and that is not here is one message, with the command that brings it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deployment.fleet.ray_cluster import RayCluster
from deployment.release.signature import check_signature, sign
from deployment.serving.figures import Metrics
from deployment.serving.limits import Gate, Limits
from engines.kserve import client_library
from graphs.errors import BadInput

NEEDS: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "metrics": ("prometheus_client", "serve", lambda _: Metrics(Gate(Limits()))),
    "a client": ("tritonclient", "serve", lambda _: client_library("grpc")),
    "a cluster": ("ray", "fleet", lambda _: RayCluster("local")),
    "signing": ("cryptography", "sign", lambda folder: sign(folder, folder)),
    "checking": ("cryptography", "sign", lambda folder: check_signature(folder, folder, folder)),
}


@pytest.mark.parametrize("which", NEEDS)
def test_who_needs_a_package_that_is_not_here_says_so(
    which: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package, extra, work = NEEDS[which]
    for module in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)  # which makes importing it a ModuleNotFoundError
    with pytest.raises(BadInput, match=f"needs {package}, which is not installed") as caught:
        work(tmp_path)
    assert caught.value.fix == f"pip install 'enginewright[{extra}]'"
