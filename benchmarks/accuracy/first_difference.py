"""Where an engine begins to compute something else than its graph says: what was found, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass, field

_NAMED = 4
"""Nodes a sentence names where several may be at fault."""


@dataclass(frozen=True)
class FirstDifference:
    """``node`` makes ``tensor``, which has ``sqnr_db`` in the engine beside the simulation of its graph; what the node
    reads has ``before_db``, None where that is the model's inputs. ``dtype`` is what the plan has the node compute in.

    ``begins_here``: the error is the node's own; else it grows along the graph, and the node is where it passed half.
    ``among`` are the nodes that may be at fault where several may: those beside it whose results cannot be read.
    """

    node: str
    op_type: str
    dtype: str
    tensor: str
    sqnr_db: float
    before_db: float | None = None
    begins_here: bool = True
    among: list[str] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """In one sentence."""
        kind = ", ".join(filter(None, [self.op_type, self.dtype]))
        before = "" if self.before_db is None else f", what it reads {self.before_db:.1f} dB"
        figures = f"{self.sqnr_db:.1f} dB beside the simulation{before}"
        if not self.begins_here:
            return f"no node alone is at fault: the error grows up to {self.node!r} ({kind}): {figures}"
        others = [name for name in self.among if name != self.node]
        more = ""
        if others:
            named = ", ".join(map(repr, others[-_NAMED:]))
            more = f"; or what leads to it: {'… ' if len(others) > _NAMED else ''}{named}"
        return f"the first node that differs is {self.node!r} ({kind}): {figures}{more}"
