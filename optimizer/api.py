"""The Python API: one call does what the command does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphs.errors import BadInput
from optimizer.asked_plan import asked_plan
from optimizer.call import call_text
from optimizer.events import Events, Listener
from optimizer.result import Result
from optimizer.settings import Precision, Settings, Sparsity, choice, listed, option_list

if TYPE_CHECKING:
    from engines.build import Builder
    from optimizer.verbs.compare import Comparison
    from optimizer.verbs.deploy import Deployed
    from optimizer.verbs.verify import Verification


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
    ``max_drop=0.01``, ``builder_options={"refit": True}`` …). The bundle goes to ``out``, by default
    ``MODEL.optimized`` in the working directory. ``listeners`` receive the events of ``optimizer.events``.
    ``command`` is what the report shows for making the bundle again, by default this call. ``builder`` builds engines
    that do not run here, as ``deployment.fleet.ray_cluster.RayCluster.build``; by default this machine does. Raises
    ``BadInput`` for anything the user can mend; the same call continues an interrupted one.
    """
    path = Path(model)
    chosen = apply_options(settings or Settings(), options)
    folder = Path(out or f"{path.stem}.optimized").absolute()
    events = Events(*listeners)
    if not force:
        from optimizer.finished import kept_result

        if kept := kept_result(path, chosen, folder, events):
            return kept
    from optimizer.pipeline import run

    told = call_text(path, chosen, folder) if command is None else command
    return run(path, chosen, folder, events, force=force, command=told, builder=builder)


def verify(bundle: str | Path, *, public_key: str | Path | None = None) -> Verification:
    """Whether a bundle is whole and its engines work, as ``optimize verify`` sees it: ``ok``, and every check.

    With ``public_key`` the signature is looked at first. Raises ``BadInput`` for a folder that is no bundle.
    """
    from optimizer.verbs.verify import verify_bundle

    return verify_bundle(Path(bundle), Path(public_key) if public_key is not None else None)


def compare(
    first: str | Path,
    second: str | Path,
    *,
    data: str = "random",
    samples: int = 64,
    evaluate: str | None = None,
    fail_if: Sequence[str] = (),
) -> Comparison:
    """Two bundles or models side by side, as ``optimize compare`` sets them: ``ok`` is whether no condition of
    ``fail_if`` (``"p99>+5%"``) is so, ``gates`` what became of each. Raises ``BadInput``.
    """
    from optimizer.verbs.compare import compare_sides
    from optimizer.verbs.gates import gate

    gates = [gate(text) for text in fail_if]
    return compare_sides(Path(first), Path(second), data, samples, evaluate=evaluate, gates=gates)


def deploy(bundle: str | Path, system: str, out: str | Path, **options: Any) -> Deployed:
    """Lay a bundle out for ``system`` in the folder ``out``, as ``optimize deploy`` does: ``files`` are what was
    written, ``triton`` is what is known of a model repository (``triton.ok``: whether a check held), None for another
    system. ``options`` are those of ``optimizer.verbs.deploy.deploy_bundle``. Raises ``BadInput``.
    """
    from optimizer.verbs.deploy import deploy_bundle

    return deploy_bundle(Path(bundle), system, Path(out), **options)


def apply_options(settings: Settings, options: dict[str, Any]) -> Settings:
    """``settings`` with keyword options; strings become enums and tuples. Raises ``BadInput`` for an unknown name."""
    values = dict(options)
    for name in values:
        if name not in Settings.__dataclass_fields__:
            known = ", ".join(Settings.__dataclass_fields__)
            raise BadInput(f"unknown option {name!r}", where="optimize()", expected=f"one of {known}")
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
