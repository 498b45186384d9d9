"""Operators that ONNX Runtime knows beyond ONNX's own, spelt out in those: TensorRT and INT8 then see into them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import onnx_ir as ir

from optimizer.passes.base import PassResult
from optimizer.passes.dialects.dynamic_products import DYNAMIC
from optimizer.passes.dialects.fused_attention import ATTENTION
from optimizer.passes.dialects.fused_operators import FUSED, simplified_layer_norm
from optimizer.passes.dialects.ml_operators import ML
from optimizer.passes.spelling_out.bodies import Bodies
from optimizer.passes.spelling_out.operators import spell_out

_BODIES: Mapping[str, Bodies] = {"com.microsoft": {**FUSED, **ATTENTION, **DYNAMIC}, "ai.onnx.ml": ML}
_STRAYED: Bodies = {"SimplifiedLayerNormalization": simplified_layer_norm}
"""What ONNX Runtime registers in ONNX's own domain, though ONNX has it not: its checker refuses it."""


def _is_of(node: ir.Node, domain: str, bodies: Bodies) -> bool:
    return node.domain == domain and node.op_type in bodies


def _round(model: ir.Model) -> list[str]:
    made = (spell_out(model, partial(_is_of, domain=domain, bodies=own), own) for domain, own in _BODIES.items())
    return [name for names in made for name in names]


class SpellOutRuntimeOperators:
    """One that is used as no body is written for stays."""

    name = "spell out ONNX Runtime's operators"

    def apply(self, model: ir.Model) -> PassResult:
        spelt: list[str] = []
        while found := _round(model):  # what one round spells out tells the next the shapes behind it
            spelt += found
        names = ", ".join(sorted(set(spelt)))
        note = f"{len(spelt)} operators of ONNX Runtime spelt out in ONNX's own: {names}"
        return PassResult(len(spelt), (note,) if spelt else ())


_QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear"})
_ALL_WIDTHS_SINCE = 21
"""The opset whose Q and DQ take the 16-bit codes that ONNX Runtime's had before."""


def settle_quantizers(model: ir.Model) -> list[str]:
    """ONNX Runtime's own Q and DQ as ONNX's, which mean the same since then, in place; returns notes."""
    if model.opset_imports.get("", 0) < _ALL_WIDTHS_SINCE:
        return []
    found = [n for g in model.graphs() for n in g if n.domain == "com.microsoft" and n.op_type in _QUANTIZERS]
    for node in found:
        node.domain = ""
    return [f"{len(found)} quantizers of com.microsoft taken as ONNX's own"] if found else []


def has_body(node: ir.Node) -> bool:
    """Whether a body is written for such an operator, though perhaps not for this use of it."""
    settled = node.domain == "com.microsoft" and node.op_type in _QUANTIZERS
    return settled or node.op_type in _BODIES.get(node.domain, {})


def bring_home(model: ir.Model) -> list[str]:
    """Spell out, in place, what stands in ONNX's domain though ONNX has no such operator; returns notes."""
    spelt = spell_out(model, partial(_is_of, domain="", bodies=_STRAYED), _STRAYED)
    return [f"{len(spelt)} x {name}: no operator of ONNX, spelt out" for name in sorted(set(spelt))]
