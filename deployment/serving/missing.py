"""Libraries of the extra ``serve``, imported where they are used: one line says how to get what is missing."""

from __future__ import annotations

import importlib
from typing import Any

from graphs.errors import BadInput


def optional(module: str, purpose: str) -> Any:
    """Import ``module``; raises ``BadInput`` that names the extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise BadInput(
            f"{purpose} needs {package}, which is not installed",
            where="optimize serve",
            fix="pip install 'enginewright[serve]'",
        ) from error
