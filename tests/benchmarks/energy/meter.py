"""A counter of energy that a test sets."""

from __future__ import annotations


class Meter:
    """Ten joules per reading."""

    reason, source, used = "", "a meter", 0.0

    def joules(self) -> float:
        self.used += 10.0
        return self.used
