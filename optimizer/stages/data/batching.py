"""What axis 0 of a model counts: told by the user, or found out by running the model on its own data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx_ir as ir

from calibration.batch_probe import PEEKED_ROWS, ROUNDING, probe_batching
from calibration.source import OpenedSource
from engines.engine import TensorSpec
from engines.errors import EngineError
from engines.feeds.batching import Batching, assumed
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.storage.saving import save_model

_ROUNDING_OF_DYNAMIC_SCALES = 0.05
"""Where activations are quantized while the model runs, their scale is the batch's: 13 dB of noise are no sign that
samples know of each other. Chosen."""
_DYNAMIC_SCALES = {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}


def has_open_axis(specs: Sequence[TensorSpec]) -> bool:
    """Whether any input has a dynamic first axis: else there is nothing to find out."""
    return any(spec.shape and isinstance(spec.shape[0], str) for spec in specs)


def whole_samples(specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """``specs`` as if axis 0 counted nothing: data opened with them is seen as it is stored."""
    return tuple(replace(spec, batch=False) for spec in specs)


def told_batching(asked: str, specs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Batching:
    """What ``--batch-axis`` 0 or none says. With 0, inputs of the first one's symbol are taken for the batch."""
    if asked == "none":
        return Batching(why="each array is one sample: --batch-axis none")
    first = next((spec.shape[0] for spec in specs if spec.shape and isinstance(spec.shape[0], str)), "")
    alike = [spec for spec in specs if first and spec.shape and spec.shape[0] == first]
    return assumed(alike, outputs, "axis 0 counts independent samples: --batch-axis 0")


@contextmanager
def running_as_given(path: Path, model: ir.Model) -> Iterator[OnnxRuntimeEngine | None]:
    """An engine of the file as given; where ONNX Runtime cannot open that, of the imported ``model``, or else None:
    later stages will say what is wrong with the model.
    """
    with ExitStack() as stack:
        engine: OnnxRuntimeEngine | None
        try:
            engine = stack.enter_context(OnnxRuntimeEngine(path, lean=True))
        except EngineError:
            folder = stack.enter_context(TemporaryDirectory(prefix="enginewright-probe-"))
            save_model(model, Path(folder) / "imported.onnx")
            try:
                engine = stack.enter_context(OnnxRuntimeEngine(Path(folder) / "imported.onnx", lean=True))
            except EngineError:
                engine = None
        yield engine


def found_batching(
    engine: OnnxRuntimeEngine | None, model: ir.Model, source: OpenedSource, outputs: Sequence[TensorSpec]
) -> Batching:
    """Run the model on rows of ``source`` (opened with ``whole_samples``), apart and joined. Without an ``engine`` the
    shapes must do.
    """
    if engine is None:
        return assumed(source.specs, outputs, "")
    dynamic = any(node.op_type in _DYNAMIC_SCALES for graph in model.graphs() for node in graph)
    return probe_batching(
        engine,
        source.peek(PEEKED_ROWS),
        lambda: source.peek(None)[0],
        rounding=_ROUNDING_OF_DYNAMIC_SCALES if dynamic else ROUNDING,
    )


def freeze(model: ir.Model, batching: Batching) -> None:
    """Write the one number of rows a graph runs with into its inputs and into outputs of the same symbol, in place."""
    symbols: dict[str, int] = {}
    for value in model.graph.inputs:
        if value.shape is None or str(value.name) not in batching.frozen:
            continue
        first, rows = value.shape[0], batching.frozen[str(value.name)]
        if isinstance(first, ir.SymbolicDim) and first.value:
            symbols[str(first.value)] = rows
        value.shape = ir.Shape([rows, *value.shape[1:]])
    for value in model.graph.outputs:
        if value.shape is not None:
            value.shape = ir.Shape([_known(dim, symbols) for dim in value.shape])


def _known(dim: int | ir.SymbolicDim, symbols: dict[str, int]) -> int | ir.SymbolicDim:
    return dim if isinstance(dim, int) else symbols.get(str(dim.value), dim)
