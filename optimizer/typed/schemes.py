"""Which quantization scheme a job's forms take, by the precision asked for."""

from __future__ import annotations

from collections.abc import Mapping

from optimizer.precision import Dtype
from optimizer.quantization.codes.scheme import CPU_INT4, SCHEMES, TENSORRT, Scheme, for_this_cpu
from optimizer.settings.asked_plan import AskedPlan
from optimizer.settings.options import Precision


def tensorrt_scheme(precision: Precision) -> Scheme:
    """INT8 where no other quantized format was asked for: a plan that is given may still have nodes in it."""
    return SCHEMES.get(Dtype(precision.value), TENSORRT) if precision is not Precision.AUTO else TENSORRT


def cpu_scheme(precision: Precision) -> Scheme | None:
    """None for formats that ONNX Runtime's CPU kernels have not: the CPU's engine then computes in FP32."""
    scheme = tensorrt_scheme(precision)
    if scheme is TENSORRT:
        return for_this_cpu()
    return CPU_INT4 if scheme.dtype is Dtype.INT4 else None


def planned_formats(plan: AskedPlan | None, scheme: Scheme) -> Mapping[str, Scheme]:
    """Schemes of nodes that a plan wants in another quantized format than ``scheme``; a CPU's form has one alone."""
    if plan is None or scheme.on_cpu:
        return {}
    return {
        name: SCHEMES[node.dtype]
        for name, node in plan.nodes.items()
        if node.dtype.quantized and node.dtype is not scheme.dtype
    }
