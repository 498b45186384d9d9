"""Types that the inspector of TensorRT 8.5 does not tell: of a dynamic plan it says ``N/A due to dynamic shapes``.

Read off the kernel, whose name tells what it reads and writes (``sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_…``,
``…_i8f16_i8i32_f32_…``), off INT8 weights, which are multiplied with INT8 data only, off Q and DQ, and off the other
end of the same tensor. Seen on 8.5.3.1, on an H200, in every layer, with a context of concrete shapes, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from engines.layers import UNTOLD, LayerInfo

_KERNEL = re.compile(r"_(i8|f16|bf16|f32|tf32)(i8|f16|bf16|f32|i32)_")
"""The first such pair in a kernel's name: what it reads, and what it writes."""
_TYPES = {"i8": "int8", "f16": "float16", "bf16": "bfloat16", "f32": "float32", "tf32": "float32", "i32": "int32"}


@dataclass(frozen=True)
class Read:
    """A layer as it was read, and the names of the tensors that it reads and writes."""

    layer: LayerInfo
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def told(layers: Sequence[Read]) -> tuple[LayerInfo, ...]:
    """The layers, with what can be found out of types that are not told."""
    if not any(UNTOLD in (*read.layer.inputs, *read.layer.outputs) for read in layers):
        return tuple(read.layer for read in layers)
    known = dict[str, str]()
    for found in (_concluded, _stated):  # what is stated holds, whatever a kernel is called
        for read in layers:
            known |= found(read)
    return tuple(_filled(read, known) for read in layers)


def _stated(read: Read) -> dict[str, str]:
    """Types of its tensors, by their names, that the inspector tells."""
    sides = ((read.inputs, read.layer.inputs), (read.outputs, read.layer.outputs))
    pairs = (pair for names, types in sides for pair in zip(names, types, strict=True))
    return {name: dtype for name, dtype in pairs if dtype != UNTOLD}


def _concluded(read: Read) -> dict[str, str]:
    """Those that its kernel, its weights or its role tell."""
    layer = read.layer
    reads, writes = _kernel_types(layer.tactic)
    if "int8" in layer.constants or layer.role == "dequantize":
        reads = "int8"
    if layer.role == "quantize":
        writes = "int8"
    found = {name: reads for name in read.inputs[:1] if reads}  # the second one of a residual sum may be another
    return found | {name: writes for name in read.outputs[:1] if writes}


def _kernel_types(tactic: str) -> tuple[str, str]:
    match = _KERNEL.search(tactic)
    return (_TYPES[match[1]], _TYPES[match[2]]) if match else ("", "")


def _filled(read: Read, known: Mapping[str, str]) -> LayerInfo:
    return replace(
        read.layer,
        inputs=_types(read.inputs, read.layer.inputs, known),
        outputs=_types(read.outputs, read.layer.outputs, known),
    )


def _types(names: Iterable[str], types: Iterable[str], known: Mapping[str, str]) -> tuple[str, ...]:
    pairs = zip(names, types, strict=True)
    return tuple(known.get(name, UNTOLD) if dtype == UNTOLD else dtype for name, dtype in pairs)
