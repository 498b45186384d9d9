"""How long the dynamic axes of made-up inputs are: by their names, or others where a model does not take those."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

from engines.engine import UNNAMED, TensorSpec
from graphs.errors import BadInput

IMAGE_SIDE, SEQUENCE_LENGTH, OTHER_LENGTH = 224, 64, 16
"""Sizes that dynamic axes get: the side of an image (as of ImageNet), the length of a sequence, anything else.
Chosen."""
OTHERS = (64, 128, 256, 512, 1024, 2048, 4096, 16_384, 32, 16, 8, 4, 2, 1, 224, 320, 384, 640)
"""Lengths to try where a model takes none of these, likely ones first: powers of two, a second of sound, the sides that
image models are exported with. Chosen."""
LARGEST = 1 << 24
"""Elements of an input beyond which shapes are not tried: 64 MiB in FP32. Chosen."""
_KEPT = ("past", "cache", "state", "mem")
"""Words in the name of what a model hands on to its next run: made up, that is one step long. Chosen."""

Shapes = dict[str, tuple[int, ...]]


def sample_shapes(specs: Sequence[TensorSpec], given: Mapping[str, Sequence[int]], free: int | None = None) -> Shapes:
    """The shape of each input in one sample. Axis 0 is one where it is the batch; other symbols take the length
    ``given`` for an input that has them, else ``free``, else what their name lets expect; one symbol has one length
    throughout. A symbol that is a sum ("past_sequence_length + 1"), or the total of what is kept and what is new, is as
    long as that.
    """
    lengths: dict[str, int] = {}
    for spec in specs:
        for symbol, length in zip(spec.shape, _given(spec, given), strict=False):
            if isinstance(symbol, str):
                lengths.setdefault(symbol, length)
    for spec in specs:
        if spec.batched:
            lengths[str(spec.shape[0])] = 1
    sums: list[str] = []
    for spec in specs:
        for axis, symbol in enumerate(spec.shape):
            if isinstance(symbol, str) and symbol not in UNNAMED and symbol not in lengths:
                if "+" in symbol or "total" in symbol.lower():
                    sums.append(symbol)
                lengths[symbol] = _usual_length(spec, axis, free)
    lengths |= {symbol: total for symbol in sums if (total := _total(symbol, lengths)) is not None}
    return {s.name: tuple(_length(s, axis, lengths, given, free) for axis in range(len(s.shape))) for s in specs}


def other_shapes(specs: Sequence[TensorSpec], given: Mapping[str, Sequence[int]]) -> Iterator[Shapes]:
    """Shapes to try where those of ``sample_shapes`` do not run: all free axes alike, for two names may be one length.
    Not axis 0 of an input that has others: what that counts is found out with any length.
    """
    tried = [sample_shapes(specs, given)]
    for length in OTHERS:
        found = sample_shapes(specs, given, length)
        if found not in tried and all(prod(shape) <= LARGEST for shape in found.values()):
            tried.append(found)
            yield found


def _given(spec: TensorSpec, given: Mapping[str, Sequence[int]]) -> Sequence[int]:
    shape = given.get(spec.name, ())
    if spec.name in given and len(shape) != len(spec.shape):
        raise BadInput(
            f"shape {list(shape)} has {len(shape)} axes", where=spec.name, expected=f"{list(spec.shape)} of the model"
        )
    return shape


def _length(
    spec: TensorSpec, axis: int, lengths: Mapping[str, int], given: Mapping[str, Sequence[int]], free: int | None
) -> int:
    symbol = spec.shape[axis]
    if isinstance(symbol, int):
        return symbol
    if symbol not in UNNAMED:
        return lengths[symbol]
    if axis == 0 and spec.batched:
        return 1
    return given[spec.name][axis] if spec.name in given else _usual_length(spec, axis, free)


def _usual_length(spec: TensorSpec, axis: int, free: int | None) -> int:
    symbol = str(spec.shape[axis]).lower()
    if any(word in symbol for word in ("batch", "past")):
        return 1
    if free is not None and (axis or len(spec.shape) == 1):
        return free
    kept = any(word in spec.name.lower() for word in _KEPT)
    if axis and len(spec.shape) == 4 and "float" in spec.dtype and not kept:
        return IMAGE_SIDE
    return SEQUENCE_LENGTH if any(word in symbol for word in ("seq", "len", "time", "token")) else OTHER_LENGTH


def _total(symbol: str, lengths: Mapping[str, int]) -> int | None:
    """The length of a symbol that names a sum of others; None where these are not known."""
    parts = [part.strip() for part in symbol.split("+")]
    if len(parts) == 1:
        rest = [s for s in lengths if "total" not in s.lower() and "+" not in s]
        past = next((s for s in rest if "past" in s.lower()), None)
        new = next((s for s in rest if "seq" in s.lower() and s != past), None)
        return lengths[past] + lengths[new] if past is not None and new is not None else None
    if not all(part.isdigit() or part in lengths for part in parts):
        return None
    return sum(int(part) if part.isdigit() else lengths[part] for part in parts)
