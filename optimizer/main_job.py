"""The main job as one call: what ``optimize MODEL.onnx`` does, for Python and for the verbs that run several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphs.errors import BadInput
from optimizer.events import Events, Listener
from optimizer.result import Result
from optimizer.settings.asked_plan import asked_plan
from optimizer.settings.call import call_text
from optimizer.settings.given import choice, listed, model_path, option_list, sample_source
from optimizer.settings.job import Settings
from optimizer.settings.options import Precision, Sparsity

if TYPE_CHECKING:
    from engines.build import Builder


def optimize(
    model: str | Path,
    *,
    settings: Settings | None = None,
    out: str | Path | None = None,
    force: bool = False,
    listeners: Sequence[Listener] = (),
    command: str | None = None,
    builder: Builder | None = None,
    **options: Any,
) -> Result:
    """Take an ONNX model to a bundle of proven engines.

    ``options`` are the fields of ``Settings`` (``precision="int8"``, ``data="calib/"``, ``targets=["cpu", "t4"]``,
    ``max_drop=0.01``, ``builder_options={"refit": True}`` …); ``data`` may also be samples in memory, a dict of arrays
    by input name or a list of these. The bundle goes to ``out``, by default
    ``MODEL.optimized`` in the working directory. ``listeners`` receive the events of ``optimizer.events``.
    ``command`` is what the report shows for making the bundle again, by default this call. ``builder`` builds engines
    that do not run here, as ``deployment.fleet.ray_cluster.RayCluster.build``; by default this machine does. Raises
    ``BadInput`` for anything the user can mend; the same call continues an interrupted one.
    """
    from optimizer.bundle import SUFFIX

    path = model_path(model)
    chosen = apply_options(settings or Settings(), options)
    folder = Path(out or path.stem + SUFFIX).absolute()
    events = Events(*listeners)
    if not force:
        from optimizer.finished import kept_result

        if kept := kept_result(path, chosen, folder, events):
            return kept
    from optimizer.pipeline import run

    told = call_text(path, chosen, folder) if command is None else command
    return run(path, chosen, folder, events, force=force, command=told, builder=builder)


def _plain(value: Any) -> Any:
    """A number of numpy's as Python's own."""
    return value.item() if isinstance(value, Number) and hasattr(value, "item") else value


def apply_options(settings: Settings, options: dict[str, Any]) -> Settings:
    """``settings`` with keyword options; strings become enums and tuples. Raises ``BadInput`` for an unknown name."""
    values = {name: _plain(value) for name, value in options.items()}
    for name in values:
        if name not in Settings.__dataclass_fields__:
            known = ", ".join(Settings.__dataclass_fields__)
            raise BadInput(f"unknown option {name!r}", where="optimize()", expected=f"one of {known}")
    for name in ("data", "eval_data"):
        if name in values:
            values[name] = sample_source(values[name])
    if "precision" in values:
        values["precision"] = choice(Precision, values["precision"], "precision")
    if "plan" in values:
        values["plan"] = asked_plan(values["plan"])
    if "sparsity" in values:
        values["sparsity"] = choice(Sparsity, values["sparsity"], "sparsity")
    for name in ("targets", "shapes", "loadgen", "without"):
        if name in values:
            values[name] = listed(values[name])
    if "batch_axis" in values:
        values["batch_axis"] = "none" if values["batch_axis"] is None else str(values["batch_axis"])
    if "builder_options" in values:
        values["builder_options"] = option_list(values["builder_options"])
    return replace(settings, **values)
