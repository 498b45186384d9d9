"""Tensors on the wire: raw little-endian bytes or JSON lists to numpy arrays and back, checked by name.

What is said of a wrong tensor is said in the words of ``engines.feeds.feed_check``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from deployment.serving.refusals import bad_request
from engines.datatypes import DATATYPES, NAMES, UNLIMITED
from engines.engine import Array, TensorSpec, numpy_dtype

MOST_AXES = 64
"""More axes than numpy's arrays have; a longer shape is refused before anything is multiplied."""
_KINDS = {"f": "fiu", "V": "fiu", "i": "iu", "u": "iu", "b": "b"}
"""Kind of the dtype asked for (``V`` is bfloat16) -> kinds of JSON values it is made of."""


class Inputs:
    """The inputs of one model, by name: makes arrays of what a request holds. Raises ``Refusal`` naming the input."""

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        self._forms = {spec.name: f"{spec.dtype} [{', '.join(map(str, spec.shape))}]" for spec in specs}
        self._types = {spec.name: (datatype(spec), spec.numpy_dtype()) for spec in specs}

    def raw(self, name: str, kind: str, shape: Sequence[int], content: Any) -> Array:
        """An array over the very bytes of ``content`` (read-only), or a copy where they do not lie on its boundary."""
        dtype = self._dtype(name, kind)
        expected = self._count(name, shape) * dtype.itemsize
        if len(content) != expected:
            what = f"{len(content)} bytes for {kind} [{', '.join(map(str, shape))}]"
            raise bad_request(what, where=f"input {name!r}", expected=f"{expected} bytes")
        array: Array = np.frombuffer(content, dtype) if expected else np.zeros(0, dtype)
        array = self._shaped(name, array, shape)
        return array if array.flags.aligned else array.copy()

    def listed(self, name: str, kind: str, shape: Sequence[int], values: object) -> Array:
        """An array of JSON's numbers, nested or flat."""
        dtype, count = self._dtype(name, kind), self._count(name, shape)
        array = _numbers(values, dtype, f"input {name!r}", kind)
        if array.size != count:
            what = f"{array.size} values for shape [{', '.join(map(str, shape))}]"
            raise bad_request(what, where=f"input {name!r}", expected=str(count))
        return self._shaped(name, array, shape)

    def _shaped(self, name: str, array: Array, shape: Sequence[int]) -> Array:
        try:
            return array.reshape(tuple(shape))
        except (ValueError, OverflowError) as error:  # no values, in a shape beyond what numpy counts
            raise bad_request(f"no such shape: {list(shape)}", where=f"input {name!r}") from error

    def _dtype(self, name: str, kind: str) -> np.dtype[Any]:
        """Of the type a request names: another than the model's is a wrong tensor, which the feed check says."""
        own = self._types.get(name)
        if own is None:
            known = "; ".join(f"{each}: {form}" for each, form in self._forms.items())
            raise bad_request(f"the model has no input {name[:80]!r}", expected=known)
        if own[0] == kind:
            return own[1]
        if kind not in DATATYPES:
            what = "BYTES (strings) are not served" if kind == "BYTES" else f"no such datatype: {kind[:40]!r}"
            raise bad_request(what, where=f"input {name!r}", expected=self._forms[name])
        return numpy_dtype(DATATYPES[kind])

    def _count(self, name: str, shape: Sequence[int]) -> int:
        if len(shape) > MOST_AXES or any(size < 0 for size in shape):
            what = f"{len(shape)} axes" if len(shape) > MOST_AXES else f"a negative size in shape {list(shape)}"
            raise bad_request(what, where=f"input {name!r}", expected=self._forms[name])
        return math.prod(shape)


def _numbers(values: object, dtype: np.dtype[Any], where: str, kind: str) -> Array:
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of several lengths
        raise bad_request("data is no rectangular list", where=where) from error
    if array.size and array.dtype.kind not in _KINDS[dtype.kind]:
        raise bad_request("data holds other values than the datatype has", where=where, expected=kind)
    if dtype.kind in "iu" and array.size:
        limits = np.iinfo(dtype)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise bad_request("a value is out of range", where=where, expected=f"{limits.min} to {limits.max}")
    with np.errstate(over="ignore"):  # 1e40 is infinity in float32, as in the model's own arithmetic
        return array.astype(dtype)


_NAME_OF: dict[np.dtype[Any], str] = {}


def datatype_of(array: Array) -> str:
    """The protocol's name of an array's type; kept by dtype, whose own name numpy makes anew each time."""
    found = _NAME_OF.get(array.dtype)
    if found is None:
        found = _NAME_OF[array.dtype] = NAMES[array.dtype.name]
    return found


def datatype(spec: TensorSpec) -> str:
    """The protocol's name of a tensor's type. Raises ``KeyError`` for one it has no fixed size of."""
    return NAMES[spec.dtype]


def to_bytes(array: Array) -> bytes:
    return array.tobytes()


def to_list(array: Array, name: str) -> list[Any]:
    """Flat, as the protocol's answers are. Raises ``Refusal`` for what JSON has no number for."""
    flat = array.reshape(-1)
    if flat.dtype.kind in "fV":
        flat = flat.astype(np.float32) if flat.dtype.kind == "V" else flat
        if not np.isfinite(flat).all():
            what = "holds NaN or infinity, which JSON has no number for"
            raise bad_request(what, where=f"output {name!r}", expected="a request for it as binary data")
    values: list[Any] = flat.tolist()
    return values


def wire_shape(spec: TensorSpec) -> list[int]:
    return [size if isinstance(size, int) else UNLIMITED for size in spec.shape]
