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
    from rich.table import Table
    from rich.text import Text

    from optimizer.cli.output.printing import console

    out = console()
    machine = f", {found.cores} cores, {found.memory_gb:.0f} GB, Python {found.python}"
    out.print(Text.assemble((found.cpu, "bold"), machine))
    table = Table("", "can it", "how, or what is missing", box=None, pad_edge=False)
    for ability in found.abilities:
        mark = Text("yes", "green") if ability.available else Text("no", "yellow")
        table.add_row(mark, ability.name, ability.detail)
    out.print(table)
    return 0
