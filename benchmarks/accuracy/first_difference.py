"""Where an engine computes something else than its graph says: what was found, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass, field

_NAMED = 4
"""Nodes a sentence names where several may be at fault. Chosen."""
STANDS_OUT_DB = 6.0
"""How far a node must lie below all others to be the one at fault: twice their amplitude. Chosen."""


@dataclass(frozen=True)
class FirstDifference:
    """``node`` makes ``tensor``: what it makes in the engine of its inputs there has ``sqnr_db`` beside what the
    simulation makes of the same; what else was looked at has ``others_db`` or more, None where nothing was. ``dtype``
    is what the plan has the node compute in. ``among`` are the nodes between the places that could be read: ``node``
    last.
    """

    node: str
    op_type: str
    dtype: str
    tensor: str
    sqnr_db: float
    others_db: float | None = None
    among: list[str] = field(default_factory=list)

    @property
    def stands_out(self) -> bool:
        """Whether it is worse than all else by enough to be the one at fault."""
        return self.others_db is None or self.sqnr_db <= self.others_db - STANDS_OUT_DB

    @property
    def sentence(self) -> str:
        """In one sentence."""
        kind = ", ".join(filter(None, [self.op_type, self.dtype]))
        others = "" if self.others_db is None else f", all others {self.others_db:.1f} dB or more"
        figures = f"{self.sqnr_db:.1f} dB beside the simulation on the same inputs{others}"
        before = [name for name in self.among if name != self.node]
        more = f"; with what leads to it: {'… ' if len(before) > _NAMED else ''}{', '.join(before[-_NAMED:])}"
        if not self.stands_out:
            return f"no node alone is at fault; the worst is {self.node!r} ({kind}): {figures}{more if before else ''}"
        return f"the node that differs is {self.node!r} ({kind}): {figures}{more if before else ''}"
