"""Running a graph that is in memory, as it stands or with its Q/DQ computed in float."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeAlias

import onnx_ir as ir

from engines.engine import Array, Feed
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.saving import stored

Graph: TypeAlias = "ir.Model | Path | bytes"
"""In memory, in a file, or serialized."""


@contextmanager
def running(
    graph: Graph, *, fuse_qdq: bool = True, threads: int | None = None, memory_pattern: bool = True
) -> Iterator[OnnxRuntimeEngine]:
    """An engine of ``graph`` for a few runs, lean; the options are those of ``OnnxRuntimeEngine``.

    The weights of a graph in memory go through a file that ONNX Runtime maps: to hand over 86 MB as one message took
    1 s where this takes 0.2 s (MiniLM, two cores), and holds them three times.
    """
    with (
        stored(graph) if isinstance(graph, ir.Model) else nullcontext(graph) as source,
        OnnxRuntimeEngine(
            source, threads=threads, fuse_qdq=fuse_qdq, memory_pattern=memory_pattern, lean=True
        ) as engine,
    ):
        yield engine


def simulated_outputs(model: ir.Model, feeds: Sequence[Feed]) -> list[dict[str, Array]]:
    """The graph outputs for every feed, with Q/DQ computed in float."""
    with running(model, fuse_qdq=False) as engine:
        return [engine.infer(feed) for feed in feeds]
