"""Which GPU targets run here: their engines are checked, timed and put under load; others are built and predicted."""

from __future__ import annotations

from collections.abc import Sequence

from engines.targets.gpus_here import Gpu, target_of
from engines.targets.target import Backend, Target


def runnable(targets: Sequence[Target], gpu: Gpu | None) -> list[Target]:
    """The targets that ``gpu``, the one in use, is. A plan also runs on another board of the same compute capability,
    but what that reaches says nothing of the target.
    """
    if gpu is None:
        return []
    here = target_of(gpu)
    return [target for target in targets if target.backend is Backend.TENSORRT and _is(target, here)]


def _is(target: Target, here: Target) -> bool:
    return target.name == here.name or (bool(target.board) and target.board == here.board)
