"""Fitting one sample to the model's inputs: names, dtypes, shapes and numbers, or one clear error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from calibration.source import Sample
from engines.engine import UNNAMED, Array, Feed, TensorSpec
from engines.feeds.batching import batched_names
from graphs.errors import BadInput


def shape_text(shape: Iterable[int | str]) -> str:
    return "[" + ", ".join(str(d) for d in shape) + "]"


def spec_text(spec: TensorSpec) -> str:
    return f"{spec.dtype} {shape_text(spec.shape)}"


def check_names(found: Iterable[str], specs: Sequence[TensorSpec], where: str) -> list[str]:
    """The names in ``found`` that are no input of the model. Raises ``BadInput`` where an input is missing."""
    names = {spec.name for spec in specs}
    found = list(found)
    if missing := sorted(names - set(found)):
        raise BadInput(
            f"no values for input {', '.join(map(repr, missing))}; found {', '.join(map(repr, found)) or 'nothing'}",
            where=where,
            expected="one entry per model input: " + "; ".join(f"{s.name!r} {spec_text(s)}" for s in specs),
            fix=f"name the arrays after the model's inputs, e.g. np.savez(path, {specs[0].name}=...)",
        )
    return [name for name in found if name not in names]


def fit_sample(sample: Feed, specs: Sequence[TensorSpec], where: str) -> Sample:
    """``sample`` with each array in its input's own dtype, C-contiguous, keys in the order of ``specs``.

    Raises ``BadInput`` naming ``where`` and the input: wrong shape, a conversion that would lose values, NaN,
    or two axes of the same ONNX symbol with different lengths (TensorRT requires them equal: "Named
    Dimensions", TensorRT developer guide).
    """
    batched = batched_names(specs)
    fitted = {
        s.name: fit_array(np.asarray(sample[s.name]), s, f"{where}: {s.name!r}", s.name in batched) for s in specs
    }
    _check_symbols(fitted, specs, where)
    return Sample(fitted, where)


def fit_array(array: Array, spec: TensorSpec, where: str, joins: bool) -> Array:
    """One array as ``spec`` wants it; where samples are batchable its first axis must have length one."""
    empty = any(length == 0 and isinstance(want, str) for length, want in zip(array.shape, spec.shape, strict=False))
    if empty and shape_fits(array.shape, spec, empty=True):
        raise BadInput(
            f"a sample has shape {shape_text(array.shape)}: with an axis of length 0 it is empty",
            where=where,
            expected=f"{spec.dtype} {shape_text(spec.shape)} with every length above 0",
            fix="leave this sample out",
        )
    if not shape_fits(array.shape, spec, joins):
        wanted = (1, *spec.shape[1:]) if joins else spec.shape
        raise BadInput(
            f"a sample has shape {shape_text(array.shape)}",
            where=where,
            expected=f"{spec.dtype} {shape_text(wanted)} for one sample",
            fix="store samples along the first axis, each with the model's own shape",
        )
    converted = convert(array, spec, where)
    if spec.finite:
        _check_numbers(converted, where)
    return np.require(converted, requirements="C")


def shape_fits(shape: Sequence[int], spec: TensorSpec, batchable: bool = False, *, empty: bool = False) -> bool:
    """Whether every static axis agrees (and axis 0 is one sample where samples are batchable); dynamic axes must not be
    empty, unless ``empty``.
    """
    if len(shape) != len(spec.shape) or (batchable and shape[0] != 1):
        return False
    least = 0 if empty else 1
    return all(d == want or (isinstance(want, str) and d >= least) for d, want in zip(shape, spec.shape, strict=True))


def convert(array: Array, spec: TensorSpec, where: str) -> Array:
    """``array`` in the input's dtype where that keeps its values; raises ``BadInput`` where it would not.

    Floats may change width (float64 to float32 rounds, but must not overflow); integers and bools may become any type
    that holds each value exactly; floats never become integers.
    """
    wanted = spec.numpy_dtype()
    if array.dtype == wanted:
        return array
    if array.dtype == np.dtype("V2") and spec.dtype == "bfloat16":  # all that NPY keeps of ml_dtypes' type
        viewed: Array = array.view(wanted)
        return viewed
    if _kind(array.dtype) not in "biuf" or _kind(wanted) not in "biuf":
        raise _refused(array.dtype, spec, where, "only numbers and bools can be fed")
    if _kind(array.dtype) == "f" and _kind(wanted) != "f":
        raise _refused(array.dtype, spec, where, "floats are not rounded to integers")
    with np.errstate(over="ignore", invalid="ignore"):
        converted: Array = array.astype(wanted)
        kept = np.can_cast(array.dtype, wanted, casting="safe") or _same_values(array, converted)
    if not kept:
        raise _refused(array.dtype, spec, where, f"values between {array.min()} and {array.max()} do not all fit")
    return converted


def _same_values(array: Array, converted: Array) -> bool:
    kind = _kind(converted.dtype)
    if _kind(array.dtype) == "f":
        return bool(np.array_equal(np.isfinite(converted), np.isfinite(array)))
    if kind == "f":
        return bool(np.array_equal(converted.astype(array.dtype), array))
    # Compared as Python integers: a round trip through another signedness would wrap and come back equal.
    limits = (0, 1) if kind == "b" else (int(np.iinfo(converted.dtype).min), int(np.iinfo(converted.dtype).max))
    return limits[0] <= int(array.min()) and int(array.max()) <= limits[1]


def _kind(dtype: np.dtype[Any]) -> str:
    """numpy's kind letter; ml_dtypes' bfloat16 and float8 report "V" and count as floats."""
    return "f" if "float" in dtype.name else dtype.kind


def _refused(found: np.dtype[Any], spec: TensorSpec, where: str, why: str) -> BadInput:
    return BadInput(
        f"values are {found}, which cannot become {spec.dtype}: {why}",
        where=where,
        expected=spec_text(spec),
        fix=f"store the array as {spec.dtype}",
    )


def _check_numbers(array: Array, where: str) -> None:
    """No NaN. Infinities are let through: masks of attention hold them, and where one reaches a tensor that a range is
    taken of, calibration names it.
    """
    if _kind(array.dtype) != "f":
        return
    missing = np.isnan(array)
    if not missing.any():
        return
    index = tuple(int(i) for i in np.argwhere(missing)[0])
    raise BadInput(
        f"{int(missing.sum())} of {array.size} values are NaN, the first at {list(index)}",
        where=where,
        expected="numbers (infinities are taken, as in masks): neither ranges nor accuracy can be had of NaN",
        fix="repair or leave out this sample",
    )


def _check_symbols(sample: Feed, specs: Sequence[TensorSpec], where: str) -> None:
    seen: dict[str, tuple[str, int]] = {}
    for spec in specs:
        for axis, symbol in enumerate(spec.shape):
            if not isinstance(symbol, str) or symbol in UNNAMED:
                continue
            length = sample[spec.name].shape[axis]
            first, expected = seen.setdefault(symbol, (spec.name, length))
            if length != expected:
                raise BadInput(
                    f"axis {axis} of {spec.name!r} has length {length}, but {first!r} has {expected}",
                    where=where,
                    expected=f"one length for the symbol {symbol!r} in all inputs of a sample",
                )
