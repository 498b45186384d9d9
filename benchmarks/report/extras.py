"""Evidence for the page that lives in other files of the bundle, or that is too long for ``report.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.measurement import Latency
from benchmarks.timing.op_times import OpTime
from engines.layers import LayerInfo


@dataclass(frozen=True)
class NodeRow:
    """One graph node of the precision plan; ``macs`` per sample; ``cost_db`` the output SQNR with only it in INT8;
    ``milliseconds`` what it takes, ``Extras.times_are`` says where and whether that was measured."""

    name: str
    op_type: str
    dtype: str
    reason: str = ""
    macs: int = 0
    cost_db: float | None = None
    milliseconds: float | None = None


@dataclass(frozen=True)
class DriftRow:
    """How far one node's output has drifted from FP32, by node (or tensor) name; rows come in graph order.

    ``sqnr_db`` None, or at the cap of ``benchmarks.accuracy.compare``, is exact.
    """

    node: str
    op_type: str
    sqnr_db: float | None
    cosine: float | None = None


@dataclass(frozen=True)
class Extras:
    """Optional material for ``render_page``; whatever is empty leaves its section out.

    ``latencies``: target -> series name (``"int8"``, ``"fp32"``) -> its distribution, with ``quantiles_ms``.
    ``op_times`` and ``layers`` (of ``engine.json``) by target. ``drift`` has a row for each of ``nodes``, or none;
    ``error_begins`` is a sentence on where that begins.
    """

    nodes: list[NodeRow] = field(default_factory=list)
    times_are: str = ""
    error_begins: str = ""
    drift: list[DriftRow] = field(default_factory=list)
    latencies: dict[str, dict[str, Latency]] = field(default_factory=dict)
    op_times: dict[str, list[OpTime]] = field(default_factory=dict)
    layers: dict[str, Sequence[LayerInfo]] = field(default_factory=dict)
