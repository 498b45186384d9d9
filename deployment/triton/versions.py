"""A new version beside those of a model that is in a repository already: Triton serves the newest, in place of the last
without a pause where it polls or is asked to load (``version_policy``)."""

from __future__ import annotations

import filecmp
from enum import Enum
from pathlib import Path
from typing import Any

from deployment.triton.config import to_pbtxt
from deployment.triton.models import ModelFolder
from deployment.triton.protocol import WrongConfig, parse_config, protocol_installed
from graphs.errors import BadInput

_SAME = ("backend", "platform", "default_model_filename", "max_batch_size", "input", "output", "cc_model_filenames")
"""Fields of a configuration that say what a version folder must hold and what clients see."""


class Place(Enum):
    """What is to be written of a model: all of it, its version beside others, or nothing as the same is there."""

    NEW, BESIDE, SAME = range(3)


def check_version(folder: Path, model: ModelFolder, version: int) -> Place:
    """What of ``model`` is to be written into ``folder``.

    Raises ``BadInput`` where this version is there and another, or where the configuration there is another model's: it
    is kept, as it holds for all versions.
    """
    if not folder.is_dir():  # a file is refused where the folder is to go
        return Place.NEW
    there = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())
    if version in there:
        if _same(folder, model, version):
            return Place.SAME
        fix = f"remove it, choose another name, or add a version: --model-version {max(there) + 1}"
        raise BadInput("already there", where=str(folder / str(version)), fix=fix)
    path = folder / "config.pbtxt"
    if not path.is_file():
        raise BadInput("is no model of a repository", where=str(folder), expected="a folder with config.pbtxt")
    try:
        known = parse_config(path.read_text(encoding="utf-8"), str(path))
    except WrongConfig as error:
        raise BadInput(error.what, where=error.where) from error
    ours = parse_config(to_pbtxt(model.config.message()))
    if other := [name for name in _SAME if _field(known, name) != _field(ours, name)]:
        raise BadInput(
            f"the model there has another {', '.join(other)}", where=str(path), fix="choose another name (--name)"
        )
    return Place.BESIDE


def _same(folder: Path, model: ModelFolder, version: int) -> bool:
    """Whether files and configuration there are those of ``model``, whatever its comments say."""
    place, config = folder / str(version), folder / "config.pbtxt"
    if not config.is_file() or not protocol_installed():
        return False
    found = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    if found - {".keep"} != set(model.files):
        return False
    try:
        known = parse_config(config.read_text(encoding="utf-8"), str(config))
    except WrongConfig:
        return False
    alike = known == parse_config(to_pbtxt(model.config.message()))
    return alike and all(filecmp.cmp(place / name, file, shallow=False) for name, file in model.files.items())


def _field(message: Any, name: str) -> Any:
    value = getattr(message, name)
    if name == "cc_model_filenames":
        return dict(value)
    return list(value) if name in ("input", "output") else value
