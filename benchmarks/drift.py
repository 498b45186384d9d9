"""Where in the graph error enters: SQNR of named intermediate tensors between two ONNX files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnx import ModelProto

from benchmarks.accuracy import compare
from engines.engine import Feed
from engines.onnxruntime.engine import OnnxRuntimeEngine


def drift(
    reference_model: Path,
    candidate_model: Path,
    tensors: Sequence[str],
    feeds: Iterable[Feed],
    *,
    threads: int | None = None,
) -> dict[str, float]:
    """SQNR in dB of every tensor in ``tensors`` that both graphs produce, in that order.

    The candidate runs with Q/DQ fusion off, so its values are those of the typed graph as written. A tensor that is
    not finite where FP32's is counts as -200 dB.
    """
    reference, candidate = _load(reference_model), _load(candidate_model)
    shared = _produced(reference) & _produced(candidate)
    chosen = [name for name in tensors if name in shared]
    if not chosen:
        return {}
    with (
        _tapped(reference, reference_model, chosen, threads, fuse_qdq=True) as expected,
        _tapped(candidate, candidate_model, chosen, threads, fuse_qdq=False) as actual,
    ):
        outputs = compare(expected, {"candidate": actual}, feeds)["candidate"].outputs
    return {name: outputs[name].sqnr_db for name in chosen}


def _load(path: Path) -> ModelProto:
    return onnx.load(path, load_external_data=False)


def _produced(model: ModelProto) -> set[str]:
    """Tensors that nodes of the main graph make."""
    return {name for node in model.graph.node for name in node.output if name}


@contextmanager
def _tapped(
    model: ModelProto, path: Path, tensors: Sequence[str], threads: int | None, *, fuse_qdq: bool
) -> Iterator[OnnxRuntimeEngine]:
    """An engine whose outputs are ``tensors``; ONNX Runtime infers their types.

    External weights are found relative to the file, so where there are any, the tapped graph is written next to it for
    as long as it runs.
    """
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    if all(tensor.data_location != onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        with OnnxRuntimeEngine(model.SerializeToString(), threads=threads, fuse_qdq=fuse_qdq) as engine:
            yield engine
        return
    tapped = path.with_name(f".{path.stem}.{os.getpid()}.tapped.onnx")
    tapped.write_bytes(model.SerializeToString())
    try:
        with OnnxRuntimeEngine(tapped, threads=threads, fuse_qdq=fuse_qdq) as engine:
            yield engine
    finally:
        tapped.unlink()
