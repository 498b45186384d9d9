"""Which number formats a target takes, and why not the others. Names are those of ``--precision`` and of plans.

Sources: TensorRT's support matrix ("Hardware and Precision") for 8.5 to 11; NVIDIA's architecture white papers (Turing,
A100, Ada, Hopper, Blackwell); plans built with TensorRT-RTX 1.7.1 for SM75 to SM120 (``docs/formats.md``), which names
the types that a GPU lacks; ONNX Runtime 1.32's CPU kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engines.targets.target import Backend, Target
from graphs.errors import BadInput


@dataclass(frozen=True)
class _Format:
    """``first``: the oldest compute capability whose GPUs take it; ``needs`` says what begins there, ``instead`` what
    to ask for on older ones.
    """

    first: tuple[int, int]
    needs: str
    instead: str


_FORMATS = {
    "bf16": _Format((8, 0), "BF16 begins with Ampere (SM80)", "fp16"),
    "fp8": _Format((8, 9), "FP8 tensor cores begin with Ada (SM89) and Hopper (SM90)", "int8"),
    "int4": _Format(
        (8, 0),
        "TensorRT takes INT4 weights from Ampere (SM80) on; the INT4 tensor cores of Turing multiply INT4 by INT4, "
        "which no TensorRT reaches",
        "int8wo",
    ),
    "nvfp4": _Format((10, 0), "FP4 tensor cores begin with Blackwell (SM100)", "int8"),
    "mxfp8": _Format((10, 0), "tensor cores that take a scale per block begin with Blackwell (SM100)", "int8"),
}
"""Those that some GPU lacks; fp32, fp16, int8 and int8wo are taken by all that are listed."""
CPU_FORMATS = frozenset({"fp32", "int8", "int4"})
"""What ONNX Runtime's CPU kernels compute in or read weights of (INT4 by MatMulNBits); of others an engine there is
FP32 and says so."""


def refusal(precision: str, target: Target) -> str:
    """Why no engine in ``precision`` can be had for ``target``; empty where one can. A CPU takes any: what it has no
    kernels for ships in FP32.
    """
    rule = _FORMATS.get(precision)
    if rule is None or target.backend is not Backend.TENSORRT or target.compute_capability is None:
        return ""
    if target.compute_capability >= rule.first:
        return ""
    return f"{target.title}, {target.sm}, has no {precision}: {rule.needs}"


def check_precision(precision: str, targets: Sequence[Target], plan: str = "") -> None:
    """Raise ``BadInput`` where a target cannot have ``precision``; ``plan`` names the plan that asks for it, where it
    is not the precision of the whole run.
    """
    refused = {target.name: why for target in targets if (why := refusal(precision, target))}
    if refused:
        rest = ",".join(target.name for target in targets if target.name not in refused)
        instead = _FORMATS[precision].instead
        fix = f"{instead} in the plan" if plan else f"--precision {instead}"
        asks = f"{precision} in {plan}," if plan else f"--precision {precision}"
        raise BadInput(
            "; ".join(refused.values()),
            where=f"{asks} --target {','.join(refused)}",
            fix=fix + (f", or --target {rest}" if rest else ""),
        )
