"""What NVIDIA's Triton containers hold: the TensorRT that loads plans and the ONNX Runtime that runs graphs.

Rows are ``nvcr.io/nvidia/tritonserver:YY.MM-py3``; the images for TensorRT-LLM hold others. Where a row's TensorRT is
known from stands in it (``Source``):

- ``IMAGE``: seen in the image, by its maintainers or by what its library says of a plan: 23.04 and 23.05 in issues
  5812 and 5975 of triton-inference-server/server (and 3071 of NVIDIA/TensorRT), 24.02 to 24.04 in 6959 and 7221. 24.01
  in 7613: its library reads plans of tag 236, 8.6's (3898 of NVIDIA/TensorRT); NVIDIA's support matrix, as 6959 quotes
  it, has 8.6.1.
- ``NOTES``: the table "Container Versions" of NVIDIA's release notes of 26.04 and 26.05
  (docs.nvidia.com/deeplearning/triton-inference-server/release-notes), as the project X-Square-Robot/Qwen3TTS-Streaming
  reads it out of them (``scripts/bash/ngc_matrix.conf``).
- ``UNCONFIRMED``: from memory, found nowhere for Triton's image. Of framework images of those months NVIDIA says
  (changelog of its model_navigator) 8.5.3 before 23.04 and 8.6.1 after. Of 24.12 two sources differ: that reading
  of the notes has 10.6.0.26, NVIDIA's table of the image for TensorRT-LLM 10.7.0. 25.07 is in neither, and not here.

ONNX Runtime: the server repository's ``docs/introduction/compatibility.md``, which begins with 24.04. A user may say
otherwise, YY.MM=VERSION (``GIVEN``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from engines.manifest import EngineManifest
from graphs.errors import BadInput


class Source(str, Enum):
    """Where it is known from which TensorRT a container has, in the words that users read."""

    IMAGE = "as seen in that image"
    NOTES = "by NVIDIA's release notes"
    UNCONFIRMED = "by our table, in which this release is not confirmed"
    GIVEN = "as given"
    NOWHERE = "not listed here"


@dataclass(frozen=True)
class Container:
    """An image by its release (``"24.05"``): TensorRT's version, empty where it is known from ``NOWHERE``, and ONNX
    Runtime's, empty where the source does not tell."""

    release: str
    tensorrt: str
    source: Source
    onnxruntime: str = ""

    @property
    def image(self) -> str:
        return f"nvcr.io/nvidia/tritonserver:{self.release}-py3"


CONTAINERS = {
    container.release: container
    for container in (
        Container("23.01", "8.5.2.2", Source.UNCONFIRMED),
        Container("23.02", "8.5.3.1", Source.UNCONFIRMED),
        Container("23.03", "8.5.3.1", Source.UNCONFIRMED),
        Container("23.04", "8.6.1.2", Source.IMAGE),
        Container("23.05", "8.6.1.2", Source.IMAGE),
        Container("23.06", "8.6.1.6", Source.UNCONFIRMED),
        Container("23.07", "8.6.1.6", Source.UNCONFIRMED),
        Container("23.08", "8.6.1.6", Source.UNCONFIRMED),
        Container("23.09", "8.6.1.6", Source.UNCONFIRMED),
        Container("23.10", "8.6.1.6", Source.UNCONFIRMED),
        Container("23.11", "8.6.1.6", Source.UNCONFIRMED),
        Container("23.12", "8.6.1.6", Source.UNCONFIRMED),
        Container("24.01", "8.6.1.6", Source.IMAGE),
        Container("24.02", "8.6.3.1", Source.IMAGE),
        Container("24.03", "8.6.3.1", Source.IMAGE),
        Container("24.04", "8.6.3.1", Source.IMAGE, "1.17.3"),
        Container("24.05", "10.0.1.6", Source.NOTES, "1.18.0"),
        Container("24.06", "10.1.0.27", Source.NOTES, "1.18.0"),
        Container("24.07", "10.2.0.19", Source.NOTES, "1.18.1"),
        Container("24.08", "10.3.0.26", Source.NOTES, "1.18.1"),
        Container("24.09", "10.4.0.26", Source.NOTES, "1.19.2"),
        Container("24.10", "10.5.0.18", Source.NOTES, "1.19.2"),
        Container("24.11", "10.6.0.26", Source.NOTES, "1.19.2"),
        Container("24.12", "10.7.0.23", Source.UNCONFIRMED, "1.20.1"),
        Container("25.01", "10.8.0.43", Source.NOTES, "1.20.1"),
        Container("25.02", "10.8.0.43", Source.NOTES, "1.20.1"),
        Container("25.03", "10.9.0.34", Source.NOTES, "1.21.0"),
        Container("25.04", "10.9.0.34", Source.NOTES, "1.21.0"),
        Container("25.05", "10.10.0.31", Source.NOTES, "1.22.0"),
        Container("25.06", "10.11.0.33", Source.NOTES, "1.22.0"),
        Container("25.08", "10.13.2.6", Source.NOTES, "1.23.0"),
        Container("25.09", "10.13.3.9", Source.NOTES, "1.23.0"),
        Container("25.10", "10.13.3.9", Source.NOTES, "1.23.1"),
        Container("25.11", "10.14.1.48", Source.NOTES, "1.23.2"),
        Container("25.12", "10.14.1.48", Source.NOTES, "1.23.2"),
        Container("26.01", "10.14.1.48", Source.NOTES, "1.23.2"),
        Container("26.02", "10.15.1.29", Source.NOTES, "1.24.1"),
        Container("26.03", "10.16.0.72", Source.NOTES, "1.24.2"),
        Container("26.04", "10.16.1.11", Source.NOTES, "1.24.4"),
        Container("26.05", "10.16.1.11", Source.NOTES, "1.24.4"),
    )
}
_FIRST_TOLD, _OPSET_21, _READS_OPSET_21 = "24.04", 21, (1, 18)
"""ONNX Runtime's versioning page: ONNX 1.16, whose opset is 21, is supported from 1.18 on."""
_FORM = "a release, YY.MM (24.05), or one with its TensorRT, YY.MM=VERSION (25.07=10.11.0.33)"


def parse_container(text: str) -> Container:
    """``--triton``: a release of the table, any with the version of TensorRT that it holds, or one since the table's
    first of which that is not known. Raises ``BadInput``."""
    match = re.fullmatch(
        r"(?P<release>\d\d\.(?:0[1-9]|1[0-2]))(?:-py3)?(?:=(?P<tensorrt>\d+(?:\.\d+)+))?", text.strip()
    )
    if match is None:
        raise BadInput(f"{text!r} is no Triton container", where="--triton", expected=_FORM)
    release, tensorrt = match["release"], match["tensorrt"]
    known = CONTAINERS.get(release)
    if tensorrt:
        return Container(release, tensorrt, Source.GIVEN, known.onnxruntime if known else "")
    if known is None and release > min(CONTAINERS):
        return Container(release, "", Source.NOWHERE)  # enough for what is no plan
    if known is None:
        raise _not_listed(release, "--triton")
    return known


def _not_listed(release: str, where: str) -> BadInput:
    return BadInput(
        f"which TensorRT Triton {release} holds is not listed here",
        where=where,
        expected=f"one of {', '.join(CONTAINERS)}",
        fix=f"look it up in NVIDIA's Frameworks Support Matrix and give it: --triton {release}=VERSION",
    )


def check_plan(manifest: EngineManifest, container: Container, where: str) -> None:
    """Raise ``BadInput`` where ``container``'s TensorRT does not load this plan: another version than built it, and
    for a version-compatible plan an older one or another major version; and where nobody knows which it has."""
    if container.source is Source.NOWHERE:
        raise _not_listed(container.release, where)
    built, there = manifest.backend_version, container.tensorrt
    if manifest.has("version_compatible") and _major(built) == _major(there) and _parts(there) >= _parts(built):
        return
    if _same(built, there):
        return
    fitting = [c.release for c in CONTAINERS.values() if _same(built, c.tensorrt)]
    builds = f"build with TensorRT {there} (pip install 'tensorrt=={'.'.join(there.split('.')[:3])}.*')"
    raise BadInput(
        f"the plan is TensorRT {built}'s, and Triton {container.release} has {there} ({container.source.value})",
        where=where,
        expected=f"Triton {' or '.join(fitting)}" if fitting else f"a plan of TensorRT {there}",
        fix=f"{f'deploy for --triton {fitting[-1]}, or ' if fitting else ''}{builds}{_overrule(container)}",
    )


def _overrule(container: Container) -> str:
    """How to say otherwise where the version is the table's."""
    if container.source is Source.GIVEN:
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
