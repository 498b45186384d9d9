"""Run a typed graph as hardware would: its rounding twin in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx_ir as ir

from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.onnxruntime.graph import running
from graphs.storage.model_files import external_files
from graphs.tensorrt.block_quantizers import expand_block_quantizers
from optimizer.simulation.float_twin import float_twin


@contextmanager
def simulated(typed: Path) -> Iterator[OnnxRuntimeEngine]:
    """An engine that computes what the typed graph ``typed`` computes where every half-precision tensor rounds.

    Its Q/DQ run in float with their scales as typed. Weights in external files are read from there, not copied.
    """
    model = ir.load(typed)
    float_twin(model)
    expand_block_quantizers(model)
    if not external_files(typed):
        with running(model, fuse_qdq=False) as engine:
            yield engine
        return
    twin = typed.with_name(f".{typed.name}.simulated")  # ONNX Runtime looks for weights beside the graph
    try:
        twin.write_bytes(ir.to_proto(model).SerializeToString())
        with running(twin, fuse_qdq=False) as engine:
            yield engine
    finally:
        twin.unlink(missing_ok=True)
