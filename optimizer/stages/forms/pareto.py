"""What a search found, for the report: every point it measured, and which of them nothing else beats."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.report.budget import PrecisionSearch, SearchPoint
from optimizer.search.record import SearchRecord
from optimizer.stages.forms.search_points import Point


def recorded(
    points: Sequence[Point],
    chosen: Point,
    limit: float,
    *,
    surely: bool,
    optimize_for: str,
    cost: str,
    seconds: float,
    bound_s: float,
) -> SearchRecord:
    """``points`` by falling share of MACs in int8, as a record."""
    kept = [point for point in points if point is chosen or not any(beats(other, point) for other in points)]
    ranked = sorted(points, key=lambda point: -point.form.quantized_share)
    found = [
        SearchPoint(
            round(point.form.quantized_share, 6),
            point.form.check.drop,
            point.form.check.bound.upper if point.form.check.bound is not None else None,
            point.form.check.ok,
            point.form.check.surely(limit),
            dict(point.trade.latency_ms),
            point.trade.bytes,
            point is chosen,
        )
        for point in ranked
    ]
    plans = [point.form.plan if any(point is one for one in kept) else None for point in ranked]
    taken = round(seconds, 2), round(bound_s, 2)
    return SearchRecord(PrecisionSearch(found, limit, surely, optimize_for, cost, *taken), plans)


def beats(one: Point, other: Point) -> bool:
    """Whether ``one`` is at least as good in drop, latency on every target and size, and better in one of them."""
    ours, theirs = _figures(one), _figures(other)
    pairs = list(zip(ours, theirs, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _figures(point: Point) -> list[float]:
    return [point.form.check.drop, float(point.trade.bytes), *(ms for _, ms in sorted(point.trade.latency_ms.items()))]
