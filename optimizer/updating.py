"""``optimize update`` as one call: the main job for a retrained model, by what an earlier bundle keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from graphs.errors import BadInput
from optimizer.events import Events, Listener
from optimizer.result import Result
from optimizer.settings.call import update_text
from optimizer.settings.given import DataGiven, listed, model_path, sample_source

if TYPE_CHECKING:
    from benchmarks.score import Evaluate
    from engines.build import Builder


def update(
    bundle: str | Path,
    model: str | Path,
    *,
    out: str | Path | None = None,
    data: DataGiven = None,
    eval_data: DataGiven = None,
    evaluate: str | Evaluate | None = None,
    all_samples: bool = False,
    loadgen: Sequence[str] | str = (),
    force: bool = False,
    listeners: Sequence[Listener] = (),
    command: str | None = None,
    builder: Builder | None = None,
) -> Result:
    """A bundle of ``model``, which is the model of ``bundle`` with other weights, by that bundle's settings.

    Its plan, ranges and decisions are taken over where a check says that they fit; accuracy is checked anew. ``data``,
    ``eval_data`` and ``evaluate`` stand in for the bundle's own. ``evaluate`` is taken of every form on as many samples
    as the accuracy budget needs, or on ``all_samples``. ``loadgen`` names scenarios to measure, by default none.
    ``out`` is by default ``MODEL.optimized`` in the working directory; ``listeners``, ``command``, ``builder`` are as
    for ``optimize``. Raises ``BadInput`` where the model has another graph, naming the first node that differs, and for
    a bundle of a version that kept too little.
    """
    from optimizer.bundle import SUFFIX
    from optimizer.kept import read_kept
    from optimizer.pipeline import run

    path, old = model_path(model), Path(bundle)
    folder = Path(out or path.stem + SUFFIX).absolute()
    if folder.resolve() == old.resolve():
        raise BadInput("is the bundle that is updated", where=str(folder), fix="name another folder with -o")
    given = {"data": sample_source(data), "eval_data": sample_source(eval_data), "evaluate": evaluate}
    kept = read_kept(old, {name: value for name, value in given.items() if value is not None})
    kept, settings = replace(kept, all_samples=all_samples), replace(kept.settings, loadgen=listed(loadgen))
    options = {**given, "all_samples": all_samples, "loadgen": settings.loadgen}
    told = update_text(old, path, options, folder) if command is None else command
    return run(path, settings, folder, Events(*listeners), force=force, command=told, builder=builder, kept=kept)
