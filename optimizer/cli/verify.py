"""``optimize verify BUNDLE``: hashes, loads, re-checks accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", show_default=False)],
    public_key: Annotated[
        Path | None, typer.Option(metavar="PUBLIC.pem", help="Check the signature of an unpacked archive first.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Check that a bundle is whole and its engines work.

    Every file's hash, every engine against its manifest, and finite outputs of each engine that runs here.
    """
    import sys

    from graphs.files import to_json
    from optimizer.verbs.verify import verify_bundle

    result = verify_bundle(bundle, public_key)
    if json:
        sys.stdout.buffer.write(to_json(result))
    else:
        for check in result.checks:
            print(f"{'ok  ' if check.ok else 'FAIL'} {check.name}: {check.detail}")
    return 0 if result.ok else 1
