"""Random numbers for tests: what a test draws depends on nothing that ran before it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

_MADE: list[tuple[np.random.Generator, Mapping[str, Any]]] = []


def seeded(seed: int) -> np.random.Generator:
    """A generator for a whole module, set back before every test: on several processes each runs other tests."""
    made = np.random.default_rng(seed)
    _MADE.append((made, made.bit_generator.state))
    return made


def set_back() -> None:
    """Every generator as it was made."""
    for made, state in _MADE:
        made.bit_generator.state = state
