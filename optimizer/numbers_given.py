"""Numbers that a user gave to a verb, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping

from graphs.errors import BadInput


def check_above_zero(options: Mapping[str, float | None]) -> None:
    """Raise ``BadInput`` naming the first option (``"--duration"``) that is given and not above 0."""
    for option, value in options.items():
        if value is not None and value <= 0:
            raise BadInput(f"{value:g} is too little", where=option, expected="above 0")


def check_not_negative(options: Mapping[str, float | None]) -> None:
    """Raise ``BadInput`` naming the first option that is given and below 0."""
    for option, value in options.items():
        if value is not None and value < 0:
            raise BadInput(f"{value:g} is negative", where=option, expected="0 or more")
