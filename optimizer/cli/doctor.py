"""``optimize doctor``: what this machine can build, run and measure, and how to get the rest."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> int:
    """Show what this machine can build, run and measure."""
    from optimizer.verbs.doctor import examine

    found = examine()
    if json:
        import sys

        from graphs.files import to_json

        sys.stdout.buffer.write(to_json(found))
        return 0
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console.print(f"[bold]{found.cpu}[/bold], {found.cores} cores, {found.memory_gb:.0f} GB, Python {found.python}")
    table = Table("can", "how, or what is missing", box=None, pad_edge=False)
    for ability in found.abilities:
        mark = "[green]yes[/green]" if ability.available else "[yellow]no[/yellow] "
        table.add_row(f"{mark} {ability.name}", escape(ability.detail))
    console.print(table)
    return 0
