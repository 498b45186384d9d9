"""Which node of a Ray cluster may build for a target, by the resources that nodes offer.

Ray gives a node with a GPU the resource ``accelerator_type:NAME``, as ``T4``, ``A10G``, ``A100`` or ``A100-80G``
(``ray.util.accelerators``); who starts Ray by hand gives it with ``--resources``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engines.targets.target import Backend, Target
from graphs.errors import BadInput

ACCELERATOR = "accelerator_type:"


def accelerator_of(target: Target, resources: Iterable[str]) -> str | None:
    """The resource of nodes that have this GPU; None where no node has."""
    found = (name for name in sorted(resources) if name.startswith(ACCELERATOR) and _is(target, name))
    return next(found, None)


def _is(target: Target, resource: str) -> bool:
    """``A10G`` is the A10 of a cloud, ``A100-80G`` an A100."""
    called = resource.removeprefix(ACCELERATOR).split("-")[0].lower()
    return called in (target.name, f"{target.name}g")


def resources_for(target: Target, offered: Iterable[str]) -> dict[str, float]:
    """What a task that builds for ``target`` asks for: a node with that GPU to itself, since builders time kernels; any
    node where there is none and TensorRT-RTX builds ahead of time.
    """
    accelerator = accelerator_of(target, offered)
    return {accelerator: 1.0} if accelerator else {}


def check_places(targets: Sequence[Target], offered: Sequence[str], cluster: str) -> None:
    """Raises ``BadInput`` naming the targets that no node can build for: Ray itself would wait for ever."""
    nowhere = [
        target
        for target in targets
        if target.backend is Backend.TENSORRT and not target.rtx and accelerator_of(target, offered) is None
    ]
    if not nowhere:
        return
    there = sorted(name.removeprefix(ACCELERATOR) for name in offered if name.startswith(ACCELERATOR))
    resource = f"{ACCELERATOR}{nowhere[0].name.upper()}"
    raise BadInput(
        f"no node can build for {', '.join(target.name for target in nowhere)}: such plans are built on that GPU",
        where=f"Ray cluster {cluster}",
        expected=f"a node with it; there are {', '.join(there) or 'no accelerators'}",
        fix=f"start Ray there with --resources '{{\"{resource}\": 1}}', or leave the target out",
    )
