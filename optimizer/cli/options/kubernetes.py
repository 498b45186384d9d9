"""Options of ``optimize deploy BUNDLE kubernetes|kserve|docker``."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from optimizer.verbs.deploy.table import panel

PANEL = panel("namespace")
StorageUri = Annotated[
    str,
    Option(
        metavar="URI",
        help="Where you upload the model repository: pvc://CLAIM/PATH; for kserve also s3://… or gs://….",
        rich_help_panel=PANEL,
    ),
]
Image = Annotated[
    str,
    Option(
        metavar="IMAGE",
        help="Container image that runs Triton; without --storage-uri it holds the models. Default: NVIDIA's of the "
        "release --triton.",
        rich_help_panel=panel("image"),
    ),
]
Namespace = Annotated[str, Option(metavar="NAME", help="Namespace of the cluster.", rich_help_panel=PANEL)]
GpuResource = Annotated[
    str,
    Option(
        metavar="RESOURCE",
        help="nvidia.com/gpu, or a MIG slice (nvidia.com/mig-1g.5gb). Default: a GPU where an engine is for one.",
        rich_help_panel=PANEL,
    ),
]
GpuProduct = Annotated[
    str,
    Option(
        metavar="LABEL", help="Only on nodes with this GPU (their label nvidia.com/gpu.product).", rich_help_panel=PANEL
    ),
]
Replicas = Annotated[
    str, Option(metavar="LEAST:MOST", help="How many pods, by load. Default: 1:4, of kserve 1.", rich_help_panel=PANEL)
]
Cpu = Annotated[str, Option(metavar="QUANTITY", help="Cores of a pod.", rich_help_panel=PANEL)]
Memory = Annotated[str, Option(metavar="QUANTITY", help="Memory of a pod.", rich_help_panel=PANEL)]
