"""The figures of ``python -m studies.builds`` as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from studies.builds.matrix import PlanRow, RunRow

_SHOWN = 5  # names in a cell


def plan_table(rows: Sequence[PlanRow]) -> str:
    head = ["network", "precision", "GPU", "build s", "plan MB", "kernels", "int8", "reformat", "Q/DQ alone", "again s"]
    return _table(head, map(_plan_cells, rows))


def _plan_cells(row: PlanRow) -> list[str]:
    place = f"{row.target} ({row.sm})"
    if row.layers is None or row.bytes is None:
        return [row.network, row.precision, place, f"none: {row.reason}", *[""] * 6]
    counts = row.layers
    numbers = (counts.kernels, counts.int8, counts.reformats, counts.unfused)
    return [
        row.network,
        row.precision,
        place,
        f"{row.build_s:.1f}",
        f"{row.bytes / 1e6:.1f}",
        *map(str, numbers),
        f"{row.again_s:.2f}",
    ]


def kernel_table(rows: Sequence[PlanRow]) -> str:
    """Kernel counts by kind and by types (what a kernel reads → what it writes)."""
    built = [row for row in rows if row.layers is not None]
    head = ["network", "precision", "GPU", "by kind", "by types"]
    return _table(
        head,
        (
            [row.network, row.precision, row.sm, _counts(row.layers.kinds), _counts(row.layers.types)]
            for row in built
            if row.layers
        ),
    )


def _counts(counted: dict[str, int]) -> str:
    shown = [f"{count} {name or 'no data'}" for name, count in list(counted.items())[:_SHOWN]]
    rest = sum(list(counted.values())[_SHOWN:])
    return ", ".join([*shown, f"{rest} others"] if rest else shown)


def run_table(rows: Sequence[RunRow]) -> str:
    head = ["network", "precision", "first run s", "same command again s", "exit code"]
    return _table(head, ([r.network, r.precision, f"{r.first_s:.0f}", f"{r.again_s:.2f}", str(r.code)] for r in rows))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
