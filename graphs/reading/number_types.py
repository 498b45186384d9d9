"""The numbers a code may be: whole ones of 8 or 4 bits, or floating-point ones of 8 or 4, in units of a scale.

FP8 and FP4 are the OCP formats (OFP8 specification 1.0, MX specification 1.0) as ``ml_dtypes`` and ONNX have them.
Every type rounds to the nearest number, ties to the even one, and saturates: that is what ``QuantizeLinear`` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Codes = NDArray[Any]
"""An array of a ``NumberType``'s codes."""
CODE_MAX = 127
"""Largest int8 code."""
MIDDLE = 128
"""The uint8 code that stands where int8 has zero: the same numbers, shifted."""
SMALLEST_SCALE = 2.0**-20
"""Smallest scale: a subnormal FP16 number with four bits of its own left. A scale is as good for being moved by a
thirtieth, since the codes are found for the number it became; NVIDIA's GPUs compute with FP16 subnormals at full speed
(CUDA's flush to zero is for FP32 alone), and TensorRT widens the scales of products to FP32. Cut off at the smallest
normal number, 2^-14, weights below 0.008 lost codes."""
_WHOLE = frozenset({ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT4})


@dataclass(frozen=True)
class NumberType:
    """Codes of type ``dtype`` from ``lowest`` to ``highest``."""

    dtype: ir.DataType
    lowest: float
    highest: float

    @property
    def whole(self) -> bool:
        """Whether neighbouring codes are all one step apart."""
        return self.dtype in _WHOLE

    @property
    def numpy(self) -> np.dtype[Any]:
        """The type of an array of codes; those of 4 bits take a byte each until they are saved."""
        return np.dtype(self.dtype.numpy())

    @cached_property
    def magnitudes(self) -> NDArray[np.float64]:
        """How large the numbers are, from zero up, where zero lies in the middle of the codes: 0 to 127 of eight whole
        bits, signed or not.
        """
        if self.whole:
            return np.arange((self.highest - self.lowest) // 2 + 1)
        every = np.arange(1 << self.dtype.bitwidth, dtype=np.uint8).view(self.numpy).astype(np.float64)
        return np.unique(np.abs(every[np.abs(every) <= self.highest]))

    def round(self, steps: NDArray[np.float32], zero: int = 0) -> None:
        """Every number of ``steps`` becomes the nearest code less ``zero``, in place; of floats that is 0."""
        if self.whole:
            np.rint(steps, out=steps)
            np.clip(steps, self.lowest - zero, self.highest - zero, out=steps)
        else:
            np.clip(steps, self.lowest, self.highest, out=steps)
            steps[...] = steps.astype(self.numpy)

    def codes(self, steps: NDArray[np.float32]) -> NDArray[Any]:
        """The nearest codes, as an array of their own type."""
        rounded = np.array(steps, np.float32)
        self.round(rounded)
        return rounded.astype(self.numpy)

    def up_to(self, highest: float) -> NumberType:
        """The same with codes from ``-highest`` to ``highest`` alone."""
        return NumberType(self.dtype, -highest, highest)


INT8 = NumberType(ir.DataType.INT8, -127, 127)
"""-128 is left out for weights, so that both ends mean the same (rule 2)."""
SIGNED = NumberType(ir.DataType.INT8, -128, 127)
"""INT8 as activations have it."""
UNSIGNED = NumberType(ir.DataType.UINT8, 0, 255)
INT4 = NumberType(ir.DataType.INT4, -8, 7)
E4M3 = NumberType(ir.DataType.FLOAT8E4M3FN, -448, 448)
"""FP8 with 4 bits of exponent: 448 is the largest finite number, and there are no infinities."""
E2M1 = NumberType(ir.DataType.FLOAT4E2M1, -6, 6)
"""FP4: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives."""
