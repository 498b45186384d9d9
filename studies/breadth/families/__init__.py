"""Steps that a random graph is drawn with: each adds one node, or a few, to a draft."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from studies.breadth.draft import Draft
from studies.breadth.families import arithmetic, blocks, control, layers, quantized, shapes

Step: TypeAlias = Callable[[Draft], object]

FAMILIES: dict[str, tuple[Step, ...]] = {
    "arithmetic": arithmetic.STEPS,
    "layers": layers.STEPS,
    "shapes": shapes.STEPS,
    "control": control.STEPS,
    "quantized": quantized.STEPS,
    "blocks": blocks.STEPS,
}
WEIGHTS = {"arithmetic": 0.32, "layers": 0.36, "shapes": 0.26, "control": 0.03, "quantized": 0.03}
"""How often a step is of each family."""
WIDE_WEIGHTS = {"layers": 0.36, "blocks": 0.24, "arithmetic": 0.19, "shapes": 0.16, "control": 0.02, "quantized": 0.03}
"""The same for a wide draft."""
