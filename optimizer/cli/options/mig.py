"""Options of ``optimize deploy BUNDLE mig``."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from optimizer.verbs.deploy.table import panel

PANEL = panel("mig")
Gpu = Annotated[
    str, Option("--mig", metavar="a100-40gb|a100-80gb|a30|h100-80gb", help="The GPU to cut.", rich_help_panel=PANEL)
]
Gpus = Annotated[int, Option(metavar="N", help="How many of it there are.", rich_help_panel=PANEL)]
Load = Annotated[float, Option(metavar="N", help="Samples per second to answer.", rich_help_panel=PANEL)]
Also = Annotated[
    list[str] | None, Option(metavar="BUNDLE=N", help="Another model, and its load.", rich_help_panel=PANEL)
]
