"""What the help of several verbs says in the same words."""

from __future__ import annotations

BUNDLE = "A bundle: the folder that `optimize MODEL.onnx` wrote."
ENGINE = "Which engine of the bundle. Default: the CPU's, else that of the GPU here."
FUNCTION = "FILE.py:FUNCTION"
PATH_OR_FUNCTION = f"PATH|{FUNCTION}"
SPEC = f"{PATH_OR_FUNCTION}|random"
"""What ``--data`` takes."""
