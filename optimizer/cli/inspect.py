"""``optimize inspect MODEL_OR_BUNDLE``: inputs, ops, parameters, FLOPs, Q/DQ, what a target cannot run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TARGETS = "t4,a100,a100-pcie-40gb,…"
PRECISIONS = "fp32|fp16|bf16|int8"


def inspect(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.onnx|BUNDLE", help="A model, or a bundle of one.", show_default=False)
    ],
    layers: Annotated[
        str, typer.Option(metavar="TARGET", help="Print which kernels a bundle's engine for this target runs.")
    ] = "",
    target: Annotated[
        str | None, typer.Option(metavar=TARGETS, help="Predict how fast these GPUs run it and what limits each layer.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(metavar=PRECISIONS, help="Predict as if the model had this precision. Default: the types it has."),
    ] = None,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Batch size to predict for.")] = 128,
    top: Annotated[int, typer.Option(metavar="N", min=1, help="How many of the slowest layers to print.")] = 10,
    tensorrt8: Annotated[
        bool, typer.Option("--tensorrt8", help="Say what TensorRT 8.5 and 8.6 would not take, or what they get.")
    ] = False,
    sparsity: Annotated[
        bool, typer.Option("--sparsity", help="Print which weights are 2:4, which could be, and why others could not.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, all layers.")] = False,
) -> int:
    """Show what is in a model and what it costs.

    Inputs, operators, parameters, FLOPs, Q/DQ nodes, what TensorRT cannot run; what limits each layer on a GPU
    (--target); the engines of a bundle.
    """
    import sys

    from graphs.files import to_json
    from optimizer.settings.given import choice, listed
    from optimizer.settings.options import Precision
    from optimizer.verbs.inspect.model import inspect_model, render

    if layers:
        return _layers(model, layers, json)
    wanted = choice(Precision, precision, "--precision") if precision else None
    found = inspect_model(model, targets=listed(target), precision=wanted, batch=batch, tensorrt8=tensorrt8)
    if json:
        sys.stdout.buffer.write(to_json(found))
    else:
        from optimizer.cli.output.printing import console

        render(found, console(), top, sparsity=sparsity)
    return 0


def _layers(bundle: Path, target: str, json: bool) -> int:
    import sys

    from engines.manifest import EngineManifest
    from graphs.files import to_json
    from optimizer.bundle import Bundle
    from optimizer.verbs.engine_tables import render_layers

    table = EngineManifest.load(Bundle(bundle).engine_directory(target)).layers
    if json:
        sys.stdout.buffer.write(to_json(table))
    else:
        from optimizer.cli.output.printing import console

        render_layers(table, console())
    return 0
