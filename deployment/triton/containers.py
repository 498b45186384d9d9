"""What NVIDIA's Triton containers hold: the TensorRT that loads plans and the ONNX Runtime that runs graphs.

TensorRT and the server's own version: written down from memory of NVIDIA's Frameworks Support Matrix
(https://docs.nvidia.com/deeplearning/frameworks/support-matrix/), rows of ``nvcr.io/nvidia/tritonserver:YY.MM-py3``;
the images for TensorRT-LLM hold others. Nobody has compared it with the matrix line by line, nor with the images: only
23.04's 8.6.1.2 is by what its library says of itself (triton-inference-server/server issue 5812). So a user may say
otherwise, YY.MM=VERSION, and what is said from the table tells so. ONNX Runtime: compared with the server repository's
``docs/introduction/compatibility.md``, which begins with 24.04.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.manifest import EngineManifest
from graphs.errors import BadInput


@dataclass(frozen=True)
class Container:
    """An image by its release (``"24.05"``): the server's own version, TensorRT's and ONNX Runtime's; empty where the
    source does not tell."""

    release: str
    server: str
    tensorrt: str
    onnxruntime: str = ""

    @property
    def image(self) -> str:
        return f"nvcr.io/nvidia/tritonserver:{self.release}-py3"


CONTAINERS = {
    container.release: container
    for container in (
        Container("23.01", "2.30.0", "8.5.2.2"),
        Container("23.02", "2.31.0", "8.5.3.1"),
        Container("23.03", "2.32.0", "8.5.3.1"),
        Container("23.04", "2.33.0", "8.6.1.2"),
        Container("23.05", "2.34.0", "8.6.1.2"),
        Container("23.06", "2.35.0", "8.6.1.6"),
        Container("23.07", "2.36.0", "8.6.1.6"),
        Container("23.08", "2.37.0", "8.6.1.6"),
        Container("23.09", "2.38.0", "8.6.1.6"),
        Container("23.10", "2.39.0", "8.6.1.6"),
        Container("23.11", "2.40.0", "8.6.1.6"),
        Container("23.12", "2.41.0", "8.6.1.6"),
        Container("24.01", "2.42.0", "8.6.1.6"),
        Container("24.02", "2.43.0", "8.6.3"),
        Container("24.03", "2.44.0", "8.6.3"),
        Container("24.04", "2.45.0", "8.6.3", "1.17.3"),
        Container("24.05", "2.46.0", "10.0.1.6", "1.18.0"),
        Container("24.06", "2.47.0", "10.1.0.27", "1.18.0"),
        Container("24.07", "2.48.0", "10.2.0.19", "1.18.1"),
        Container("24.08", "2.49.0", "10.3.0.26", "1.18.1"),
        Container("24.09", "2.50.0", "10.4.0.26", "1.19.2"),
        Container("24.10", "2.51.0", "10.5.0.18", "1.19.2"),
        Container("24.11", "2.52.0", "10.6.0.26", "1.19.2"),
        Container("24.12", "2.53.0", "10.7.0.23", "1.20.1"),
        Container("25.01", "2.54.0", "10.8.0.43", "1.20.1"),
        Container("25.02", "2.55.0", "10.8.0.43", "1.20.1"),
        Container("25.03", "2.56.0", "10.9.0.34", "1.21.0"),
        Container("25.04", "2.57.0", "10.9.0.34", "1.21.0"),
        Container("25.05", "2.58.0", "10.10.0.31", "1.22.0"),
        Container("25.06", "2.59.0", "10.11.0.33", "1.22.0"),
    )
}
_FIRST_TOLD, _OPSET_21, _READS_OPSET_21 = "24.04", 21, (1, 18)
"""ONNX Runtime's versioning page: ONNX 1.16, whose opset is 21, is supported from 1.18 on."""
_FORM = "a release, YY.MM (24.05), or one with its TensorRT, YY.MM=VERSION (26.04=10.14.1.48)"


def parse_container(text: str) -> Container:
    """``--triton``: a release of the table, or any with the version of TensorRT that it holds. Raises ``BadInput``."""
    match = re.fullmatch(r"(?P<release>\d\d\.\d\d)(?:-py3)?(?:=(?P<tensorrt>\d+(?:\.\d+)+))?", text.strip())
    if match is None:
        raise BadInput(f"{text!r} is no Triton container", where="--triton", expected=_FORM)
    release, tensorrt = match["release"], match["tensorrt"]
    known = CONTAINERS.get(release)
    if tensorrt:
        return Container(release, known.server if known else "", tensorrt, known.onnxruntime if known else "")
    if known is None:
        raise BadInput(
            f"which TensorRT Triton {release} holds is not listed here",
            where="--triton",
            expected=f"one of {', '.join(CONTAINERS)}",
            fix=f"look it up in NVIDIA's Frameworks Support Matrix and give it: --triton {release}=VERSION",
        )
    return known


def check_plan(manifest: EngineManifest, container: Container, where: str) -> None:
    """Raise ``BadInput`` where ``container``'s TensorRT does not load this plan: another version than built it, and
    for a version-compatible plan an older one or another major version."""
    built, there = manifest.backend_version, container.tensorrt
    if manifest.has("version_compatible") and _major(built) == _major(there) and _parts(there) >= _parts(built):
        return
    if _same(built, there):
        return
    fitting = [c.release for c in CONTAINERS.values() if _same(built, c.tensorrt)]
    builds = f"build with TensorRT {there} (pip install 'tensorrt=={'.'.join(there.split('.')[:3])}.*')"
    raise BadInput(
        f"the plan is TensorRT {built}'s, and Triton {container.release} has {there}",
        where=where,
        expected=f"Triton {' or '.join(fitting)}" if fitting else f"a plan of TensorRT {there}",
        fix=f"{f'deploy for --triton {fitting[-1]}, or ' if fitting else ''}{builds}{_overrule(container)}",
    )


def _overrule(container: Container) -> str:
    """How to say otherwise where the version is the table's."""
    if CONTAINERS.get(container.release) != container:
        return ""
    return (
        f"; if that container has another (dpkg -l 'libnvinfer*' in it), give it: --triton {container.release}=VERSION"
    )


def check_graph(model: Path, container: Container) -> None:
    """Raise ``BadInput`` where ``container``'s ONNX Runtime is older than the opset of the ONNX file ``model``.

    Releases before the first that the source tells are older; of those after its last nothing is known. Opsets after
    21 are not judged.
    """
    opset = max((entry.version for entry in _opsets(model) if entry.domain in ("", "ai.onnx")), default=0)
    there = container.onnxruntime or "before 1.17.3"
    known = _parts(there) >= _READS_OPSET_21 if container.onnxruntime else container.release >= _FIRST_TOLD
    if opset < _OPSET_21 or known:
        return
    raise BadInput(
        f"the graph is of opset {opset}, and Triton {container.release} has ONNX Runtime {there}",
        where=str(model),
        expected="ONNX Runtime 1.18, which Triton 24.05 has, or later",
        fix="deploy for a later --triton, or with --backend python",
    )


def _opsets(model: Path) -> Any:
    import onnx

    return onnx.load(model, load_external_data=False).opset_import


def containers_for(version: str) -> list[str]:
    """Releases whose TensorRT loads plans of ``version``."""
    return [container.release for container in CONTAINERS.values() if _same(version, container.tensorrt)]


def _same(first: str, second: str) -> bool:
    """Equal as far as both tell: three parts name a release, the fourth its build."""
    pairs = list(zip(_parts(first), _parts(second), strict=False))
    return len(pairs) >= 2 and all(a == b for a, b in pairs)


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0].split("-")[0]))


def _major(version: str) -> int:
    return _parts(version)[0]
