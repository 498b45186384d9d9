"""``optimize verify BUNDLE``: hashes, loads, re-checks accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.options.words import BUNDLE, PATH_OR_FUNCTION


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help=BUNDLE, show_default=False)],
    public_key: Annotated[
        Path | None, typer.Option(metavar="PUBLIC.pem", help="Check the signature of an unpacked archive first.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="MODEL.onnx", help="The model it was made of: accuracy is re-checked against its FP32."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar=PATH_OR_FUNCTION, help="--model: samples to do so on. Default: those it was made with."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Check that a bundle is whole and its engines work.

    Every file's hash, every engine against its manifest, and finite outputs of each engine that runs here; with --model
    the accuracy of those engines, by the budget and by what the report says.
    """
    import sys

    from graphs.errors import BadInput
    from graphs.files import to_json
    from optimizer.verbs.verify import verify_bundle

    if data is not None and model is None:
        raise BadInput("needs the model to compare with", where="--data", fix="add --model MODEL.onnx")
    result = verify_bundle(bundle, public_key, model, {} if data is None else {"data": data})
    if json:
        sys.stdout.buffer.write(to_json(result))
    else:
        for check in result.checks:
            print(f"{'ok  ' if check.ok else 'FAIL'} {check.name}: {check.detail}")
    return 0 if result.ok else 1
