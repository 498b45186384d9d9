"""Which targets gain nothing from 2:4 sparsity, and what is done about it."""

from __future__ import annotations

from collections.abc import Sequence

from engines.targets.target import CPU, Target
from graphs.errors import BadInput
from optimizer.settings.options import Sparsity


def check_sparsity(asked: Sparsity, targets: Sequence[Target], *, dense: bool = False) -> list[str]:
    """A warning for every target that gains nothing from what was ``asked``; ``dense``: the only form that is made is
    the CPU's FP32 one, which is not pruned. Raises ``BadInput`` where sparsity is required.

    What gains at all depends on the builder and on its timings: TensorRT-RTX ignores the pattern (said in the report),
    and TensorRT takes a sparse tactic where it measures it to be faster.
    """
    if not asked.asked:
        return []
    without = [target for target in targets if not target.sparse_tensor_cores]
    if asked is Sparsity.REQUIRED and without:
        raise BadInput(
            "; ".join(_why(target) for target in without),
            where=f"--sparsity {asked.value}",
            expected="targets with sparse tensor cores (a100 and later)",
            fix=f"leave {', '.join(target.name for target in without)} out, or ask for --sparsity 2:4, which warns",
        )
    if dense:
        return ["nothing is pruned to 2:4: the CPU's FP32 engine stays dense"]
    return [f"2:4 sparsity gains nothing on {target.name}: {_why(target)}" for target in without]


def _why(target: Target) -> str:
    if target.name == CPU.name:
        return "ONNX Runtime has no sparse kernels"
    return f"{target.title} ({target.sm}) has no sparse tensor cores, which came with SM80"
