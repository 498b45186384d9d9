"""The first bytes of a plan: who wrote it, how long it is, and for which GPUs. No library is asked.

Sources: full TensorRT, ``printPlanVersion`` of TensorRT's own samples (``samples/common/sampleEngines.cpp``, what
``trtexec --getPlanVersionOnly`` prints); TensorRT-RTX, plans of 1.7.1 built for each GPU and for two at once, which
differ in these fields alone, and what its runtime answers when one of them is changed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from engines.errors import EngineError
from engines.targets.target import RTX_CAPABILITIES

_TAGS = {b"ftrt": "tensorrt", b"vtrt": "tensorrt_rtx", b"ptrt": "tensorrt"}
"""The last is the engine inside the others' frame. It stands alone in plans of TensorRT 8.5, whose library has no
other tag; its fields are not known."""
_FRAMELESS = b"ptrt"
_FIELDS = struct.Struct("<4sIIIQ4B4sI")
"""Tag, layout of what follows, number of sections, 0, bytes of the plan, version, the tag again, bits of GPUs."""
_LAYOUT = 0
"""The layout that is known; of another nothing but the library is read."""


@dataclass(frozen=True)
class PlanHeader:
    """``library`` is ``"tensorrt"`` or ``"tensorrt_rtx"``, ``version`` all four numbers (``"1.7.1.116"``), empty
    where the layout is not known. ``bytes`` is the length the plan gives itself and ``capabilities`` the GPUs it is
    for; only TensorRT-RTX says either: else None and empty.
    """

    library: str
    version: str = ""
    bytes: int | None = None
    capabilities: tuple[tuple[int, int], ...] = ()


def read_header(plan: Path) -> PlanHeader:
    """Raises ``EngineError`` for a file that is no plan, and for one cut off within these bytes."""
    with plan.open("rb") as file:
        start = file.read(_FIELDS.size)
    library = _TAGS.get(start[:4])
    if library is None or len(start) < _FIELDS.size:
        what = "is empty" if not start else f"is not a TensorRT plan: it begins with {start[:4]!r}"
        what = what if library is None else f"is cut off after {len(start)} bytes"
        raise EngineError(what, where=str(plan), expected=f"one of the tags {', '.join(map(str, _TAGS))}")
    _, layout, _, _, size, *version, _, gpus = _FIELDS.unpack(start)
    if layout != _LAYOUT or start[:4] == _FRAMELESS:
        return PlanHeader(library)
    spoken = ".".join(map(str, version))
    if library == "tensorrt":
        return PlanHeader(library, spoken)
    capabilities = tuple(capability for bit, capability in enumerate(RTX_CAPABILITIES) if gpus >> bit & 1)
    return PlanHeader(library, spoken, size, capabilities)
