"""``optimize cache``: engines and stages kept between runs: what there is, how large it is, and making room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from engines.cache.plans import EngineCache

ACTIONS = ("list", "evict", "clear")


def cache(
    action: Annotated[str, typer.Argument(metavar="list|evict|clear", help="What to do.")] = "list",
    to: Annotated[int | None, typer.Option(metavar="MIB", help="evict: keep at most this much.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """List, evict or clear the cache.

    It holds engines, calibrations and typed graphs, so that no run repeats the work of an earlier one.
    """
    import sys

    from engines.cache.plans import EngineCache
    from graphs.errors import BadInput
    from graphs.files import to_json

    if action not in ACTIONS:
        raise BadInput(f"unknown action {action!r}", where="cache", expected=f"one of {', '.join(ACTIONS)}")
    if to is not None and (action != "evict" or to < 0):
        raise BadInput(f"--to {to} cannot be used here", where="cache", expected="evict --to MIB, 0 or more")
    kept = EngineCache()
    removed = 0
    if action == "evict":
        removed = len(kept.evict(limit=None if to is None else to << 20))
    elif action == "clear":
        removed = kept.clear()
    if json:
        entries = kept.entries()
        found = {
            "root": str(kept.root),
            "limit_bytes": kept.limit,
            "bytes": sum(entry.bytes for entry in entries),
            "removed": removed,
            "entries": entries,
        }
        sys.stdout.buffer.write(to_json(found))
    else:
        _print(kept, action, removed)
    return 0


def _print(kept: EngineCache, action: str, removed: int) -> None:
    from datetime import datetime

    from rich.table import Table

    from benchmarks.report.formats import size
    from optimizer.cli.output.printing import console

    out, entries = console(), kept.entries()
    if action != "list":
        out.print(f"removed {removed} entr{'y' if removed == 1 else 'ies'}", highlight=False)
    total = sum(entry.bytes for entry in entries)
    out.print(f"{kept.root}: {len(entries)} entries, {size(total)} of {size(kept.limit)}", highlight=False)
    if not entries:
        return
    table = Table("last used", "size", "key", "what", box=None, pad_edge=False)
    for entry in entries:
        used = datetime.fromtimestamp(entry.used).isoformat(sep=" ", timespec="minutes")
        engine = f"{entry.target}, {entry.precision}: {entry.library}" if entry.target else entry.library
        table.add_row(used, size(entry.bytes), entry.key[:12], "damaged" if entry.damaged else engine)
    out.print(table)
