"""Parses ``config.pbtxt`` with Triton's own protocol definition, as the server does."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def parse(path: Path) -> Any:
    """The ``ModelConfig`` message of a file; unknown fields and enum values fail the test with their line."""
    from google.protobuf import text_format

    return text_format.Parse(path.read_text(encoding="utf-8"), model_config().ModelConfig())


def model_config() -> ModuleType:
    """``model_config_pb2`` of tritonclient, loaded by file: its package imports grpcio, parsing needs none."""
    package = importlib.util.find_spec("tritonclient")
    if package is None or package.origin is None:
        pytest.skip("needs tritonclient (extra: serve)")
    source = Path(package.origin).parent / "grpc" / "model_config_pb2.py"
    return _load(source)


_loaded: dict[Path, ModuleType] = {}


def _load(source: Path) -> ModuleType:
    if source not in _loaded:
        spec = importlib.util.spec_from_file_location("model_config_pb2", source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        _loaded[source] = module
    return _loaded[source]
