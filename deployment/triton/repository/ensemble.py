"""A model with a user's own functions before and after it, as a Triton ensemble.

Each function runs in Triton's Python backend as a model of its own. What it takes and gives is found out by running it
on samples of the raw inputs, on one row and on two: sizes in which samples differ are free. Text comes as Triton's
Python backend gives it, as arrays of ``bytes``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deployment.triton import python_backend
from deployment.triton.repository.config import EnsembleStep, TritonModel
from deployment.triton.repository.engine_config import tensor_configs
from deployment.triton.repository.models import ModelFolder, Pipeline
from deployment.triton.text import as_bytes, is_text
from engines.engine import Array, Engine, EngineBase, Feed, TensorSpec
from engines.errors import EngineError
from engines.feeds.feed_check import FeedCheck
from engines.user_code import RAISED, describe, load_callable
from graphs.errors import BadInput

_FUNCTION_MODEL = Path(python_backend.__file__).parent / "function_model.py"
_COMMENT = ("A function of yours in Triton's Python backend, which needs the package enginewright (pip install).",)
_BEFORE, _BEHIND = "preprocessed/", "engine/"
"""What tensors between the steps are called: a name of theirs must not be one of the ensemble's own."""


@dataclass(frozen=True)
class Around:
    """``before`` and ``after`` are ``file.py:function`` from arrays by name to arrays by name, empty for none; ``raw``
    a sample of what clients send: rows along axis 0 where the model batches, at least one; ``more`` are others, of
    other sizes. Sizes of those ``free`` differ from request to request."""

    before: str
    after: str
    raw: Feed
    free: frozenset[str] = frozenset()
    more: tuple[Feed, ...] = ()


def with_functions(model: ModelFolder, around: Around, run: Engine) -> list[ModelFolder]:
    """``model`` under another name, a model for each function, and the ensemble under ``model``'s own name.

    ``run`` answers as the engine does. Raises ``BadInput`` for a function that fails on ``raw``, gives other inputs
    than the engine has, or does not keep samples apart.
    """
    name, batch = model.config.name, model.config.max_batch_size
    inner = replace(model, config=replace(model.config, name=f"{name}_model"))
    before, after = _function(around.before), _function(around.after)
    raws = [_as_bytes(raw) for raw in (around.raw, *around.more)]
    finals = []
    for raw in raws:
        if batch:
            _check_rows(raw)
        fed = _applied(before, around.before, raw, batch) if before else raw
        _check_inputs(run.inputs, fed, around.before or "--raw")
        answers = _applied(run.infer, "the engine", fed, batch)
        finals.append(_applied(after, around.after, answers, batch) if after else answers)
    raw_specs = _specs(raws, batch, "--raw", around.free) if before else run.inputs
    final_specs = _specs(finals, batch, around.after) if after else run.outputs
    clash = {spec.name for spec in raw_specs} & {spec.name for spec in final_specs}
    if clash:
        raise BadInput(f"input and output are both called {sorted(clash)[0]!r}", where=around.after or around.before)
    models, steps = [inner], []
    if before:
        models.append(_part(f"{name}_preprocess", around.before, raw_specs, run.inputs, inner))
        steps.append(_step(models[-1].config, "", _BEFORE))
    steps.append(_step(inner.config, _BEFORE if before else "", _BEHIND if after else ""))
    if after:
        models.append(_part(f"{name}_postprocess", around.after, run.outputs, final_specs, inner))
        steps.append(_step(models[-1].config, _BEHIND, ""))
    config = TritonModel(
        name=name,
        backend="ensemble",
        inputs=tensor_configs(raw_specs, batch),
        outputs=tensor_configs(final_specs, batch),
        max_batch_size=batch,
        filename="",
        steps=tuple(steps),
    )
    first, *more = raws
    pipeline = Pipeline(lambda engine: _Around(engine, before, after, raw_specs, final_specs), first, tuple(more))
    return [*models, ModelFolder(config, {}, model.engine, pipeline=pipeline)]


class _Around(EngineBase):
    """The engine with the functions in this process."""

    def __init__(
        self,
        engine: EngineBase,
        before: _Function | None,
        after: _Function | None,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
    ) -> None:
        self._engine, self._before, self._after = engine, before, after
        self._inputs, self._outputs = inputs, outputs

    def infer(self, feed: Feed) -> dict[str, Array]:
        """See ``Engine.infer``."""
        answers = self._engine.infer(self._before(feed) if self._before else feed)
        return _as_bytes(self._after(answers)) if self._after else answers

    def close(self) -> None:
        self._engine.close()


_Function = Callable[[Feed], "dict[str, Array]"]


def _function(spec: str) -> _Function | None:
    return load_callable(spec) if spec else None


def _check_rows(raw: Feed) -> None:
    rows = {array.shape[:1] for array in raw.values()}
    if len(rows) != 1 or rows & {(), (0,)}:
        shapes = ", ".join(f"{name!r} {list(array.shape)}" for name, array in raw.items())
        raise BadInput(
            f"holds {shapes}", where="--raw", expected="as many rows along axis 0 in each array, one or more"
        )


def _applied(function: _Function, where: str, feed: Feed, batch: int) -> dict[str, Array]:
    """What ``function`` makes of ``feed``, which, where the model batches, must have a row for each of its rows."""
    for rows in (1, 2) if batch else ():
        part = {name: np.concatenate([array[:1]] * rows) for name, array in feed.items()}
        for name, array in _called(function, where, part).items():
            if array.ndim == 0 or len(array) != rows:
                raise BadInput(
                    f"{name!r} has shape {list(array.shape)} for {rows} sample{'s' if rows > 1 else ''}",
                    where=where,
                    expected=f"{rows} along axis 0, as the model's other tensors have",
                )
    return _called(function, where, feed)


def _called(function: _Function, where: str, feed: Feed) -> dict[str, Array]:
    try:
        found: Any = function(feed)  # whatever a user's function returns
    except EngineError as error:
        raise BadInput(error.what, where=error.where, fix="give samples that the model takes as --raw") from error
    except RAISED as error:
        raise BadInput(f"raised {describe(error)}", where=where) from error
    expected = "a dict of numpy arrays by name"
    if not isinstance(found, dict):
        raise BadInput(f"returned a {type(found).__name__}", where=where, expected=expected)
    arrays: dict[str, Array] = found
    for name, value in found.items():
        if not isinstance(value, np.ndarray):
            what, fix = f"returned a {type(value).__name__} as {name!r}", "np.asarray(VALUE) makes an array of it"
            raise BadInput(what, where=where, expected=expected, fix=fix)
    return arrays


def _check_inputs(specs: Sequence[TensorSpec], feed: Feed, where: str) -> None:
    try:
        FeedCheck(specs, where)(feed)
    except EngineError as error:
        raise BadInput(f"{error.where}: {error.what}", where=where, expected=error.expected) from error


def _specs(feeds: Sequence[Feed], batch: int, where: str, free: Collection[str] = ()) -> tuple[TensorSpec, ...]:
    """Tensors of the shapes seen, but for sizes in which ``feeds`` differ and those of ``free``; axis 0 is the batch
    where the model batches. Raises ``BadInput`` where they differ in more."""
    first = feeds[0]
    for feed in feeds[1:]:
        if _kinds(feed) != _kinds(first):
            what = f"samples differ in more than sizes: {_kinds(first)} and {_kinds(feed)}"
            raise BadInput(what, where=where, expected="names, types and numbers of axes that are the same in all")
    return tuple(
        TensorSpec(name, _dtype(array), _shape(name, [feed[name] for feed in feeds], batch, name in free), bool(batch))
        for name, array in first.items()
    )


def _as_bytes(feed: Feed) -> dict[str, Array]:
    return {name: as_bytes(array) for name, array in feed.items()}


def _kinds(feed: Feed) -> str:
    return "; ".join(f"{name!r} {_dtype(feed[name])} of {feed[name].ndim} axes" for name in sorted(feed))


def _dtype(array: Array) -> str:
    return "object" if is_text(array) else array.dtype.name


def _shape(name: str, arrays: Sequence[Array], batch: int, free: bool) -> tuple[int | str, ...]:
    seen = [set(sizes) for sizes in zip(*(array.shape for array in arrays), strict=True)]
    sizes: list[int | str] = [
        min(found) if len(found) == 1 and not free else f"{name}_{axis}" for axis, found in enumerate(seen)
    ]
    return ("batch", *sizes[1:]) if batch else tuple(sizes)


def _part(
    name: str, spec: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], inner: ModelFolder
) -> ModelFolder:
    place, _, function = spec.rpartition(":")
    if not place.endswith(".py"):
        raise BadInput("lies in a module", where=spec, expected="file.py:function, which goes into the repository")
    batch = inner.config.max_batch_size
    inside = f"user/{Path(place).name}"
    scalars = [spec.name for spec in inputs if not spec.shape]
    config = TritonModel(
        name=name,
        backend="python",
        inputs=tensor_configs(inputs, batch),
        outputs=tensor_configs(outputs, batch),
        max_batch_size=batch,
        filename="model.py",
        kind="KIND_CPU",
        parameters={"file": inside, "function": function, "scalars": json.dumps(scalars)},
    )
    files = {"model.py": _FUNCTION_MODEL, inside: Path(place)}
    return ModelFolder(config, files, inner.engine, comment=_COMMENT, part=True)


def _step(config: TritonModel, reads: str, writes: str) -> EnsembleStep:
    return EnsembleStep(
        config.name,
        {tensor.name: f"{reads}{tensor.name}" for tensor in config.inputs},
        {tensor.name: f"{writes}{tensor.name}" for tensor in config.outputs},
    )
