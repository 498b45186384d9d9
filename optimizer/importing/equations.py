"""Einsum equations in the letters every runtime takes: TensorRT's parser knows small ones and no blanks only."""

from __future__ import annotations

import re
from collections import Counter
from string import ascii_lowercase

import onnx_ir as ir


def normalize_equations(model: ir.Model) -> None:
    """Rewrite equations with capitals or blanks; the others stay as they are."""
    for graph in model.graphs():
        for node in graph:
            if node.op_type == "Einsum" and node.domain == "":
                equation = node.attributes.get_string("equation", "")
                node.attributes["equation"] = ir.AttrString("equation", in_small_letters(equation or ""))


def in_small_letters(equation: str) -> str:
    """The same equation with its labels renamed a, b, c, … in order of appearance, and its output written down.

    One with more than 26 labels cannot be renamed and is returned without blanks.
    """
    compact = re.sub(r"\s", "", equation)
    if not re.search("[A-Z]", compact):
        return compact
    terms, arrow, output = compact.partition("->")
    if not arrow:  # implicit: the labels that occur once, in alphabetical order, capitals first
        counts = Counter(label for label in terms if label.isalpha())
        output = ("..." if "..." in terms else "") + "".join(sorted(label for label, n in counts.items() if n == 1))
    labels = list(dict.fromkeys(label for label in terms if label.isalpha()))
    if len(labels) > len(ascii_lowercase):
        return compact
    return f"{terms}->{output}".translate(str.maketrans("".join(labels), ascii_lowercase[: len(labels)]))
