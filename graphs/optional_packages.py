"""Packages that only some work needs, imported where they are used: one message says what for, and how to get them."""

from __future__ import annotations

import importlib
from typing import Any

from graphs.errors import BadInput


def optional(module: str, extra: str, purpose: str) -> Any:
    """Import ``module``, which ``purpose`` needs and the ``extra`` of pyproject.toml brings. Raises ``BadInput``."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise not_installed(module.partition(".")[0], extra, purpose) from error
    except (ImportError, OSError, RuntimeError) as error:  # half of it is here: tritonclient without its own extras
        raise BadInput(f"{purpose} needs {module}, which cannot be imported: {error}", fix=_fix(extra)) from error


def not_installed(package: str, extra: str, purpose: str) -> BadInput:
    return BadInput(f"{purpose} needs {package}, which is not installed", fix=_fix(extra))


def _fix(extra: str) -> str:
    return f"pip install 'enginewright[{extra}]'"
