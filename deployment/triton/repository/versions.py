"""A new version beside those of a model that is in a repository already: Triton serves the newest, in place of the last
without a pause where it polls or is asked to load (``version_policy``)."""

from __future__ import annotations

import filecmp
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any

from deployment.triton.protocol import WrongConfig, parse_config, protocol_installed
from deployment.triton.repository.config import RateLimit, TritonModel
from deployment.triton.repository.models import ModelFolder
from deployment.triton.repository.options import TritonOptions
from deployment.triton.repository.pbtxt import to_pbtxt
from graphs.errors import BadInput

_SAME = ("backend", "platform", "default_model_filename", "max_batch_size", "input", "output", "cc_model_filenames")
"""Fields of a configuration that say what a version folder must hold and what clients see."""


class Place(Enum):
    """What is to be written of a model: all of it, its version beside others, or nothing as the same is there."""

    NEW, BESIDE, SAME = range(3)


def check_version(folder: Path, model: ModelFolder, version: int, options: TritonOptions) -> tuple[Place, ModelFolder]:
    """What of ``model`` is to be written into ``folder``, and ``model`` with the configuration that it then has: one
    that is there is kept, as it holds for all versions.

    Raises ``BadInput`` where this version is there and another, where the configuration there is another model's, and
    for one of ``options`` that it does not have.
    """
    if not folder.is_dir():  # a file is refused where the folder is to go
        return Place.NEW, model
    there = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())
    if version in there:
        if _same(folder, model, version):
            return Place.SAME, model
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
    same = (*_SAME, "parameters") if model.part else _SAME  # of a function: its file and name
    if other := [name for name in same if _field(known, name) != _field(ours, name)]:
        raise BadInput(
            f"the model there has another {', '.join(other)}", where=str(path), fix="choose another name (--name)"
        )
    _check_given(options, known, ours, path)
    return Place.BESIDE, replace(model, config=_kept(model.config, known))


def _check_given(options: TritonOptions, known: Any, ours: Any, path: Path) -> None:
    """Raises ``BadInput`` for an option that would change nothing, as the configuration there is kept."""
    for option, given, value in (
        ("--instances", options.instances is not None, lambda config: _group(config).count),
        ("--rate-limit", options.rate_limit is not None, lambda config: _group(config).rate_limiter),
        ("--queue-delay", options.queue_delay_us is not None, lambda config: _delay(config)),
        ("--keep-versions", options.keep_versions != 1, lambda config: config.version_policy),
        ("--response-cache", options.response_cache, lambda config: config.response_cache),
        ("--cuda-graphs", options.cuda_graphs, lambda config: config.optimization.cuda.graphs),
    ):
        if given and value(known) != value(ours):
            what = "changes nothing: a version beside others keeps their configuration, which has another value"
            raise BadInput(what, where=option, fix=f"leave it out, or edit {path} first")


def _kept(config: TritonModel, known: Any) -> TritonModel:
    """``config`` with what the configuration there says of how the model is served."""
    group, limit = _group(known), _group(known).rate_limiter
    taken = {resource.name: resource.count for resource in limit.resources}
    return replace(
        config,
        instances=group.count or 1,
        rate_limit=RateLimit(taken, limit.priority) if taken else None,
        preferred_batch_sizes=tuple(known.dynamic_batching.preferred_batch_size),
        queue_delay_us=_delay(known),
        keep_versions=known.version_policy.latest.num_versions or 1,
        response_cache=known.response_cache.enable,
        cuda_graphs=known.optimization.cuda.graphs,
        parameters={key: value.string_value for key, value in known.parameters.items()},
        origins={},
    )


def _group(config: Any) -> Any:
    return config.instance_group[0] if config.instance_group else type(config)().instance_group.add()


def _delay(config: Any) -> int:
    return int(config.dynamic_batching.max_queue_delay_microseconds)


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
    if name in ("cc_model_filenames", "parameters"):
        return dict(value)
    return list(value) if name in ("input", "output") else value
