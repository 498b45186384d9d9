"""Triton's own protocol definition, with which a ``config.pbtxt`` is read before it is written."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from graphs.errors import BadInput, EnginewrightError
from graphs.optional_packages import not_installed


class WrongConfig(EnginewrightError):
    """A configuration of ours that Triton's protocol does not read: a fault of this program."""


def protocol_installed() -> bool:
    """Whether tritonclient is here (extra ``serve``)."""
    return (
        importlib.util.find_spec("tritonclient") is not None and importlib.util.find_spec("google.protobuf") is not None
    )


def parse_config(text: str, where: str = "config.pbtxt") -> Any:
    """The ``ModelConfig`` message of a ``config.pbtxt``.

    Raises ``WrongConfig`` with line and column for an unknown field, enum value or type; ``BadInput`` without
    tritonclient.
    """
    definition = model_config()
    from google.protobuf import text_format

    try:
        return text_format.Parse(text, definition.ModelConfig())
    except text_format.ParseError as error:
        raise WrongConfig(f"Triton's protocol does not read this: {error}", where=where) from error


def config_json(message: Any) -> dict[str, Any]:
    """A ``ModelConfig`` as the model repository extension takes it: JSON with the protocol's field names."""
    from google.protobuf import json_format

    found: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return found


@cache
def model_config() -> Any:
    """The module ``model_config_pb2`` of tritonclient, loaded by file: its package imports grpcio, reading needs none.

    Raises ``BadInput`` where tritonclient is not installed.
    """
    package = importlib.util.find_spec("tritonclient")
    if package is None or package.origin is None:
        raise not_installed("tritonclient", "serve", "reading a config.pbtxt")
    source = Path(package.origin).parent / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", source)
    if spec is None or spec.loader is None:
        raise BadInput("cannot be loaded", where=str(source), fix="pip install 'enginewright[serve]'")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
