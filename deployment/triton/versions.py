"""A new version beside those of a model that is in a repository already: Triton serves the newest, in place of the last
without a pause where it polls or is asked to load (``version_policy``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deployment.triton.config import to_pbtxt
from deployment.triton.models import ModelFolder
from deployment.triton.protocol import WrongConfig, parse_config
from graphs.errors import BadInput

_SAME = ("backend", "platform", "default_model_filename", "max_batch_size", "input", "output", "cc_model_filenames")
"""Fields of a configuration that say what a version folder must hold and what clients see."""


def check_version(folder: Path, model: ModelFolder, version: int) -> bool:
    """Whether ``folder`` holds the model already, so that only the version is new.

    Raises ``BadInput`` where this version is there, or where the configuration there is another model's: it is kept, as
    it holds for all versions.
    """
    if not folder.is_dir():  # a file is refused where the folder is to go
        return False
    there = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())
    if version in there:
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
    return True


def _field(message: Any, name: str) -> Any:
    value = getattr(message, name)
    if name == "cc_model_filenames":
        return dict(value)
    return list(value) if name in ("input", "output") else value
