"""Numbers that a user gave to a verb, checked before anything runs."""

from __future__ import annotations

import math
from collections.abc import Mapping

from graphs.errors import BadInput


def check_above_zero(options: Mapping[str, float | None]) -> None:
    """Raise ``BadInput`` naming the first option (``"--duration"``) that is given and not above 0, or no number."""
    for option, value in options.items():
        _check_number(option, value, "above 0")
        if value is not None and value <= 0:
            raise BadInput(f"{value:g} is too little", where=option, expected="above 0")


def check_not_negative(options: Mapping[str, float | None]) -> None:
    """Raise ``BadInput`` naming the first option that is given and below 0, or no number."""
    for option, value in options.items():
        _check_number(option, value, "0 or more")
        if value is not None and value < 0:
            raise BadInput(f"{value:g} is negative", where=option, expected="0 or more")


def _check_number(option: str, value: float | None, expected: str) -> None:
    """Not a number is neither above nor below anything, and of infinity nothing ever ends."""
    if isinstance(value, float) and not math.isfinite(value):
        raise BadInput(f"{value:g} is no number", where=option, expected=f"a number {expected}")
