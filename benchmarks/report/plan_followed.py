"""How far a precision plan that was given came true, and what of it did not, with the reason."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphs.errors import first_few

_NAMED = 5
"""Nodes of one reason that a warning names before it counts the others; report.json has them all. Chosen."""


@dataclass(frozen=True)
class PlanFollowed:
    """``form`` is the graph it was applied to; of its ``nodes`` so many are ``followed``; ``refused`` maps the others
    to what became of them and why."""

    form: str
    nodes: int
    followed: int
    refused: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def warning(self) -> str:
        """What did not come true, in one line; empty where all did."""
        if not self.refused:
            return ""
        by_reason: dict[str, list[str]] = {}
        for name, why in self.refused.items():
            by_reason.setdefault(why, []).append(name)
        told = "; ".join(f"{first_few(names, _NAMED)} ({why})" for why, names in list(by_reason.items())[:_NAMED])
        more = f"; and {len(by_reason) - _NAMED} more reasons" if len(by_reason) > _NAMED else ""
        return f"--plan: {len(self.refused)} of {self.nodes} nodes are not as planned in {self.form}: {told}{more}"
