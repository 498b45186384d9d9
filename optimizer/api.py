"""The Python API: each call does what the command of its name does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.main_job import optimize
from optimizer.result import Result
from optimizer.settings.given import DataGiven, model_path, sample_source
from optimizer.updating import update

if TYPE_CHECKING:
    from optimizer.verbs.compare.sides import Comparison
    from optimizer.verbs.deploy.bundle import Deployed
    from optimizer.verbs.verify import Verification

__all__ = ["Result", "compare", "deploy", "optimize", "update", "verify"]


def verify(
    bundle: str | Path,
    *,
    public_key: str | Path | None = None,
    model: str | Path | None = None,
    data: DataGiven = None,
) -> Verification:
    """Whether a bundle is whole and its engines work, as ``optimize verify`` sees it: ``ok``, and every check.

    With ``public_key`` the signature is looked at first; with ``model``, which the bundle was made of, accuracy is
    re-checked, on ``data`` in place of the samples it was made with. Raises ``BadInput`` for a folder that is no
    bundle.
    """
    from optimizer.verbs.verify import verify_bundle

    given = {} if data is None else {"data": sample_source(data)}
    of = model_path(model) if model is not None else None
    return verify_bundle(Path(bundle), Path(public_key) if public_key is not None else None, of, given)


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
    from optimizer.verbs.compare.sides import compare_sides
    from optimizer.verbs.gates import gate

    gates = [gate(text) for text in fail_if]
    return compare_sides(Path(first), Path(second), data, samples, evaluate=evaluate, gates=gates)


def deploy(bundle: str | Path, system: str, out: str | Path, **options: Any) -> Deployed:
    """Lay a bundle out for ``system`` in the folder ``out``, as ``optimize deploy`` does: ``files`` are what was
    written, ``triton`` is what is known of a model repository (``triton.ok``: whether a check held), None for another
    system. ``options`` are those of ``optimizer.verbs.deploy.bundle.deploy_bundle``. Raises ``BadInput``.
    """
    from optimizer.verbs.deploy.bundle import deploy_bundle

    return deploy_bundle(Path(bundle), system, Path(out), **options)
