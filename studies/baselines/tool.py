"""What a quantization tool is to the comparison."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engines.engine import Feed

TOOLS = ("enginewright", "onnxruntime", "modelopt", "nncf")


@dataclass(frozen=True)
class Request:
    """One quantization: read ``model``, calibrate on ``feeds``, write ``out``."""

    model: Path
    feeds: Sequence[Feed]
    out: Path
    configuration: str
    transformer: bool


class Tool(Protocol):
    """One tool. Importing its module must not import the tool: ``load`` does, before time and memory are measured.

    ``FOR_CPU`` names the configurations meant for the CPU: their task metric is taken as ONNX Runtime runs them there.
    """

    CONFIGURATIONS: tuple[str, ...]
    FOR_CPU: frozenset[str]

    def load(self) -> None: ...

    def quantize(self, request: Request) -> None: ...


def load_tool(name: str) -> Tool:
    tool: Tool = importlib.import_module(f"studies.baselines.tools.{name}_tool").TOOL
    return tool


def cells(tools: Sequence[str]) -> list[tuple[str, str]]:
    """Every (tool, configuration) of the named tools, in order."""
    return [(name, configuration) for name in tools for configuration in load_tool(name).CONFIGURATIONS]
