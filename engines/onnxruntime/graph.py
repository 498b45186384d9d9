"""Running a graph that is in memory, as it stands or with its Q/DQ computed in float."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeAlias

import onnx_ir as ir

from engines.engine import Array, Feed
from engines.onnxruntime.engine import LARGE_BYTES, OnnxRuntimeEngine
from engines.parallel import available_cores, in_turn
from graphs.reading.shapes import activation_bytes
from graphs.storage.saving import weight_bytes
from graphs.storage.stored import stored
from graphs.tensorrt.block_quantizers import expand_block_quantizers, has_block_quantizers

Graph: TypeAlias = "ir.Model | Path | bytes"
"""In memory, in a file, or serialized."""
SIDE_BY_SIDE_BYTES = 512 << 20
"""Activations of all feeds that run at the same time, as if none took another's place."""


@contextmanager
def running(
    graph: Graph, *, fuse_qdq: bool = True, threads: int | None = None, memory_pattern: bool = True
) -> Iterator[OnnxRuntimeEngine]:
    """An engine of ``graph`` for a few runs, lean; the options are those of ``OnnxRuntimeEngine``. Of a graph in memory
    TensorRT's quantizers in blocks are written as standard operators.

    The weights of a graph in memory go through a file that ONNX Runtime maps: to hand over 86 MB as one message took
    1 s where this takes 0.2 s (MiniLM, two cores), and holds them three times.
    """
    if isinstance(graph, ir.Model) and has_block_quantizers(graph):
        graph = graph.clone()
        expand_block_quantizers(graph)
    large = weight_bytes(graph) > LARGE_BYTES if isinstance(graph, ir.Model) else None
    with (
        stored(graph) if isinstance(graph, ir.Model) else nullcontext(graph) as source,
        OnnxRuntimeEngine(
            source, threads=threads, fuse_qdq=fuse_qdq, memory_pattern=memory_pattern, lean=True, large=large
        ) as engine,
    ):
        yield engine


Run: TypeAlias = "Callable[[Iterable[Feed]], Iterator[dict[str, Array]]]"
"""Gives the outputs of one feed after the other."""


@contextmanager
def running_many(model: ir.Model, count: int, *, fuse_qdq: bool = False) -> Iterator[Run]:
    """``model`` ready to run about ``count`` feeds, Q/DQ computed in float unless ``fuse_qdq``: several feeds at once,
    each on a core of its own, which wastes least, where their activations together stay below ``SIDE_BY_SIDE_BYTES``.
    """
    cores, activations = available_cores(), max(activation_bytes(model), 1)
    workers = max(min(cores, count, SIDE_BY_SIDE_BYTES // activations), 1)
    with running(model, threads=max(cores // workers, 1), fuse_qdq=fuse_qdq) as engine:
        yield lambda feeds: in_turn(engine.infer, feeds, workers)


def simulated_outputs(model: ir.Model, feeds: Sequence[Feed], *, fuse_qdq: bool = False) -> list[dict[str, Array]]:
    """The graph outputs for every feed, with Q/DQ computed in float, or, with ``fuse_qdq``, as a CPU runs them."""
    with running_many(model, len(feeds), fuse_qdq=fuse_qdq) as run:
        return list(run(feeds))
