"""Libraries that only some workloads need."""

from __future__ import annotations

import importlib
from types import ModuleType

from graphs.errors import BadInput


def optional(module: str, purpose: str) -> ModuleType:
    """Import ``module``; raises ``BadInput`` saying what it is for and how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise BadInput(
            f"{purpose} needs {package}, which is not installed",
            where="--workload",
            fix="pip install 'enginewright[workloads]'",
        ) from error
