"""Einsum: the parser takes letters only, and no broadcasting between operands."""

from __future__ import annotations

import string

import onnx_ir as ir

from optimizer.tensorrt8.rewriting import Spot

_ELLIPSIS = "..."


def letters_for_the_ellipsis(spot: Spot) -> bool:
    """Name the axes that an ellipsis stands for, where ranks are known and operands that have them agree in size."""
    equation = spot.node.attributes.get_string("equation", "").replace(" ", "")
    if _ELLIPSIS not in equation:
        return False
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    counts = [_axes(term, value) for term, value in zip(terms, spot.node.inputs, strict=True)]
    known = [count for count in counts if count is not None]
    free = [letter for letter in string.ascii_lowercase if letter not in equation]
    if len(known) < len(counts) or max(known) > len(free):
        return False
    letters = "".join(free[: max(known)])
    named = [term.replace(_ELLIPSIS, letters[len(letters) - n :]) for term, n in zip(terms, known, strict=True)]
    if not _agree(named, spot):
        return False
    if not arrow:
        explicit = left.replace(_ELLIPSIS, "").replace(",", "")
        right = _ELLIPSIS + "".join(sorted(letter for letter in set(explicit) if explicit.count(letter) == 1))
    result = f"{','.join(named)}->{right.replace(_ELLIPSIS, letters)}"
    spot.node.attributes["equation"] = ir.AttrString("equation", result)
    return True


def _axes(term: str, value: ir.Value | None) -> int | None:
    """How many axes the ellipsis of a term stands for; None where the rank is not known."""
    if _ELLIPSIS not in term:
        return 0
    return None if value is None or value.shape is None else len(value.shape) - len(term) + len(_ELLIPSIS)


def _agree(terms: list[str], spot: Spot) -> bool:
    sizes: dict[str, object] = {}
    for term, value in zip(terms, spot.node.inputs, strict=True):
        shape = value.shape if value is not None else None
        for letter, size in zip(term, shape or (), strict=False):
            same = size if isinstance(size, int) else size.value
            if same is None or sizes.setdefault(letter, same) != same:
                return False
    return True
