"""``optimize deploy BUNDLE archive|oci|card|registry``: a bundle to be stored, handed over, looked up."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.report.model import Report, read_report
from deployment.release.artifact import Content, write_archive, write_oci_layout
from deployment.release.card import model_card
from deployment.release.registry import registry_entry
from deployment.release.signature import SIGNATURE, sign
from graphs.errors import BadInput
from graphs.files import to_json, unwritable, write_together
from optimizer.bundle import MANIFEST, REPORT, Bundle

CARD, ENTRY = "MODEL_CARD.md", "registry.json"
_LONGEST_TAG = 128
_TAG = re.compile(rf"[a-zA-Z0-9_][a-zA-Z0-9._-]{{0,{_LONGEST_TAG - 1}}}")
"""What a registry takes as a tag: opencontainers/distribution-spec, "Pulling manifests"."""
_NOT_IN_TAGS = re.compile(r"[^a-zA-Z0-9._-]+")


def write_release(bundle: Bundle, kind: str, out: Path, name: str, key: Path | None = None) -> list[Path]:
    """Write ``kind`` of ``bundle`` into the folder ``out`` and return the files. An archive and an OCI layout hold the
    model card, too, and with ``key`` a signature.

    Raises ``BadInput`` for a bundle without a report, or whose files are not what its manifest says, a key that is
    none, and a name that is a path.
    """
    if Path(name).name != name or name in ("", "..") or not name.isprintable():
        raise BadInput(f"{name!r} is no name of a file", where="--name")
    if kind == "oci" and not _TAG.fullmatch(name):
        legal = _NOT_IN_TAGS.sub("_", name).lstrip(".-")[:_LONGEST_TAG] or "model"
        expected = f"a tag: at most {_LONGEST_TAG} letters, digits, _ . -"
        raise BadInput(f"{name!r} is no tag", where="--name", expected=expected, fix=f"--name {legal}")
    bundle.check_intact(*([REPORT] if kind in ("card", "registry") else []))
    report = _report(bundle)
    if kind == "card":
        return write_together(out, {CARD: model_card(report, name).encode()})
    if kind == "registry":
        return write_together(out, {ENTRY: to_json(registry_entry(report, name))})
    manifest = bundle.manifest
    files: dict[str, Content] = {file: bundle.path / file for file in (*manifest.files, MANIFEST)}
    files[CARD] = model_card(report, name).encode()
    if key is not None:
        files[SIGNATURE] = sign(bundle.path / MANIFEST, key)
    try:
        if kind == "archive":
            return write_archive(files, out, name)
        notes = {"org.opencontainers.image.created": report.created, "org.opencontainers.image.title": name}
        return write_oci_layout(files, manifest.files, out, name, {key: value for key, value in notes.items() if value})
    except OSError as error:
        raise unwritable(out, error) from None


def _report(bundle: Bundle) -> Report:
    path = bundle.path / REPORT
    if not path.is_file():
        raise BadInput("no report", where=str(path), expected="a bundle that `optimize MODEL.onnx` left")
    return read_report(path)
