"""Names of tensor types in the Open Inference Protocol (KServe v2), for its client and its server here.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md#tensor-data-types
"""

from __future__ import annotations

DATATYPES = {
    "BOOL": "bool",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BF16": "bfloat16",
    **{f"{sign}INT{bits}": f"{sign.lower()}int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)},
}
"""The protocol's name -> numpy's (``bfloat16`` is that of ``ml_dtypes``). ``BYTES``, strings of any length, is none of
a fixed size and is left out."""
NAMES = {dtype: name for name, dtype in DATATYPES.items()}
UNLIMITED = -1
"""How the protocol writes a dynamic axis."""
