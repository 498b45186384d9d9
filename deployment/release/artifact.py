"""A bundle as one file, or as an OCI artifact: the same bundle gives the same bytes.

The archive is a tar in which owners and times are blank (reproducible-builds.org, "Archives"). The OCI layout follows
the image layout and image manifest specifications 1.1 (opencontainers/image-spec): an artifact with a layer for each
file, titled as ORAS titles them, so that ``oras`` and other clients push it and restore the folder.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from graphs.digests import sha256, sha256_file
from graphs.files import write_atomically
from graphs.staging import in_folder, refuse_foreign, staged, staged_file

ARTIFACT_TYPE = "application/vnd.enginewright.bundle.v1"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
EMPTY_TYPE, EMPTY = "application/vnd.oci.empty.v1+json", b"{}"
"""The config of an artifact that has none, as the specification gives it."""
MEDIA_TYPES = {".json": "application/json", ".html": "text/html", ".md": "text/markdown"}
"""By suffix; anything else is ``application/octet-stream``."""
CHECKSUMS = "SHA256SUMS"
LAYOUT = "oci-layout"


Content: TypeAlias = "Path | bytes"
"""A file to put in, or what is to stand in one."""


def write_archive(files: Mapping[str, Content], out: Path, name: str) -> list[Path]:
    """``NAME.tar.gz`` in the folder ``out`` with ``files`` under ``NAME/``, and its line in ``SHA256SUMS`` beside it,
    which ``sha256sum --check`` reads; lines of other files stay.
    """
    archive, sums = out / f"{name}.tar.gz", out / CHECKSUMS
    with in_folder(out), staged_file(archive) as path:
        with (
            path.open("wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,  # no name and no time in its header either
            tarfile.open(fileobj=packed, mode="w|") as tar,
        ):
            for file, content in sorted(files.items()):
                _add(tar, f"{name}/{file}", content)
        known = sums.read_bytes().splitlines() if sums.is_file() else []  # names of files are bytes, of any encoding
        others = [line for line in known if not line.endswith(f"  {archive.name}".encode())]
        own = f"{sha256_file(path)}  {archive.name}".encode()
        write_atomically(sums, b"".join(line + b"\n" for line in (*others, own)))
    return [archive, sums]


def _add(tar: tarfile.TarFile, name: str, content: Content) -> None:
    """With a blank owner and time: what ``TarInfo`` has unless it is told."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content) if isinstance(content, bytes) else content.stat().st_size
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
        tar.addfile(entry, stream)


def write_oci_layout(
    files: Mapping[str, Content], digests: Mapping[str, str], out: Path, tag: str, annotations: Mapping[str, str]
) -> list[Path]:
    """An OCI image layout in the folder ``out`` whose one artifact, ``tag``, holds copies of ``files``: a hard link
    would make a model's external data unreadable in the bundle. ``digests`` are SHA-256 that are known already, by
    name. Raises ``BadInput`` where ``out`` holds anything but an earlier layout.
    """
    refuse_foreign(out, LAYOUT)
    with in_folder(out.parent), staged(out) as folder:
        blobs = folder / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": ARTIFACT_TYPE,
            "config": _blob(EMPTY, EMPTY_TYPE, blobs),
            "layers": [_layer(name, files[name], digests.get(name), blobs) for name in sorted(files)],
            "annotations": dict(annotations),
        }
        described = _blob(_json(manifest), MANIFEST_TYPE, blobs)
        described |= {"artifactType": ARTIFACT_TYPE, "annotations": {"org.opencontainers.image.ref.name": tag}}
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [described]}
        (folder / "index.json").write_bytes(_json(index))
        (folder / LAYOUT).write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    return [out / LAYOUT, out / "index.json"]


def _layer(name: str, content: Content, digest: str | None, blobs: Path) -> dict[str, Any]:
    kind = MEDIA_TYPES.get(Path(name).suffix, "application/octet-stream")
    found = _blob(content, kind, blobs) if isinstance(content, bytes) else _file(content, kind, digest, blobs)
    return found | {"annotations": {"org.opencontainers.image.title": name}}


def _file(path: Path, kind: str, digest: str | None, blobs: Path) -> dict[str, Any]:
    digest = digest or sha256_file(path)
    if not (blobs / digest).exists():  # two files of the same bytes are one blob
        shutil.copyfile(path, blobs / digest)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": path.stat().st_size}


def _blob(content: bytes, kind: str, blobs: Path) -> dict[str, Any]:
    digest = sha256(content)
    (blobs / digest).write_bytes(content)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
