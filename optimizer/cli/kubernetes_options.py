"""Options of ``optimize deploy BUNDLE kubernetes|kserve|docker``."""

from __future__ import annotations

from typing import Annotated

from typer import Option

PANEL = "Kubernetes"
Image = Annotated[
    str,
    Option(
        metavar="IMAGE",
        help="What runs. Default: NVIDIA's of --triton; with --storage-uri none but that is needed.",
        rich_help_panel=PANEL,
    ),
]
Namespace = Annotated[str, Option(metavar="NAME", rich_help_panel=PANEL)]
GpuResource = Annotated[
    str,
    Option(
        metavar="RESOURCE",
        help="nvidia.com/gpu, or a MIG slice (nvidia.com/mig-1g.5gb). Default: a GPU where an engine is for one.",
        rich_help_panel=PANEL,
    ),
]
GpuProduct = Annotated[
    str, Option(metavar="LABEL", help="Nodes by their label nvidia.com/gpu.product.", rich_help_panel=PANEL)
]
Replicas = Annotated[
    str, Option(metavar="LEAST:MOST", help="Pods, by load. Default: 1:4, of kserve 1.", rich_help_panel=PANEL)
]
Cpu = Annotated[str, Option(metavar="QUANTITY", help="Cores of a pod.", rich_help_panel=PANEL)]
Memory = Annotated[str, Option(metavar="QUANTITY", help="Memory of a pod.", rich_help_panel=PANEL)]
