"""Reads ``config.pbtxt`` with Triton's own protocol definition, as the server does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployment.triton.protocol import parse_config, protocol_installed


def parse(path: Path) -> Any:
    """The ``ModelConfig`` message of a file; unknown fields and enum values fail the test with their line."""
    if not protocol_installed():
        pytest.skip("needs tritonclient (extra: serve)")
    return parse_config(path.read_text(encoding="utf-8"), str(path))
