"""Names of inputs in a plan: the parser writes ``__x`` for an input ``x`` that is handed on as an output."""

from __future__ import annotations

from collections.abc import Collection

PREFIX = "__"


def own_name(binding: str, outputs: Collection[str]) -> str:
    """The name that the graph gives the input which the plan binds as ``binding``."""
    name = binding.removeprefix(PREFIX)
    return name if name in outputs else binding
