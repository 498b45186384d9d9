"""Which of a graph's nodes an engine runs in the precision that was planned for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.plaster.figures import NativeOps
from engines.layers import LayerInfo, fallen_back


def refused(nodes: int, reason: str) -> NativeOps:
    """A target with no engine runs none."""
    return NativeOps(nodes, 0, f"no engine: {reason.splitlines()[0]}" if reason else "no engine")


def native_in_layers(planned: Mapping[str, str], layers: Sequence[LayerInfo]) -> NativeOps:
    """``planned`` maps a node to its dtype. An int8 node that appears in layers, none of which reads int8, fell back.

    Everything else in the engine runs as planned. Backends that tell nothing of their layers are believed.
    """
    fell, _ = fallen_back([name for name, dtype in planned.items() if dtype == "int8"], layers)
    return NativeOps(len(planned), len(planned) - len(fell), f"{len(fell)} fell back from int8" if fell else "")


def native_in_form(planned: Mapping[str, str], shipped: str) -> NativeOps:
    """An engine that ships in ``shipped`` ("fp32") although the plan has int8 nodes runs those in another precision."""
    integer = sum(dtype == "int8" for dtype in planned.values())
    fell = integer if shipped != "int8" else 0
    return NativeOps(len(planned), len(planned) - fell, f"ships {shipped}: {fell} planned in int8" if fell else "")
