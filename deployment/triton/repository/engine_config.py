"""What an engine's manifest says of Triton's configuration: batch, shapes without it, preferred sizes, warm-up."""

from __future__ import annotations

from collections.abc import Sequence

from deployment.served_engine import ServedEngine
from deployment.triton.repository.config import TensorConfig, WarmupInput, data_type
from engines.engine import TensorSpec
from engines.profile import LARGEST_BATCH
from graphs.errors import BadInput


def max_batch_size(engines: Sequence[ServedEngine], asked: int | None) -> int:
    """Triton's ``max_batch_size``: 0 where axis 0 is no batch, else ``asked`` or what every engine covers.

    Raises ``BadInput`` where ``asked`` is beyond a plan's profile, or the model does not batch.
    """
    if asked == 0:
        return 0
    if not all(engine.batches for engine in engines):
        if asked is not None and asked > 1:
            raise BadInput(
                "this model does not batch: axis 0 does not count samples in every input and output",
                where="--max-batch",
            )
        return 0
    limits = [engine.largest_batch for engine in engines if engine.largest_batch is not None]
    limit = min(limits, default=None)
    if asked is not None and limit is not None and asked > limit and engines[0].manifest.backend != "onnxruntime":
        raise BadInput(
            f"batch {asked} is beyond the engine's profile, which ends at {limit}",
            where="--max-batch",
            fix="build with a larger --shape NAME=MIN:OPT:MAX",
        )
    return asked or limit or LARGEST_BATCH


def tensor_configs(specs: Sequence[TensorSpec], batch: int) -> tuple[TensorConfig, ...]:
    """Inputs or outputs as the configuration names them; ``batch`` is the model's ``max_batch_size``."""
    return tuple(TensorConfig(spec.name, data_type(spec.dtype, spec.name), _dims(spec, batch)) for spec in specs)


def _dims(spec: TensorSpec, batch: int) -> tuple[int, ...]:
    if not batch and not spec.shape:
        # Triton's core refuses to reshape to [] where no batch stands before it. Of a scalar the ONNX Runtime backend
        # takes [1] as it is (ValidateInputs in its onnxruntime.cc), and our Python backend reshapes it itself.
        return (1,)
    shape = spec.shape[1:] if batch else spec.shape
    return tuple(dim if isinstance(dim, int) else -1 for dim in shape)


def preferred_batches(engine: ServedEngine, batch: int) -> tuple[int, ...]:
    """The batch a plan's profile is tuned for and the largest; others would only make requests wait. None for what has
    no profile to be tuned for (ONNX Runtime)."""
    if engine.manifest.backend == "onnxruntime":
        return ()
    usual = engine.usual_batch
    return tuple(sorted({size for size in (usual, batch) if size and 1 < size <= batch}))


def warmup_requests(engine: ServedEngine, batch: int) -> dict[int, tuple[WarmupInput, ...]]:
    """One request of batch 1 and one of the largest, so that no user pays for lazy initialization."""
    inputs = tuple(
        WarmupInput(spec.name, data_type(spec.dtype, spec.name), _warmup_dims(engine, spec, batch))
        for spec in engine.manifest.inputs
    )
    if any(tensor.data_type == "TYPE_STRING" for tensor in inputs):
        return {}
    return dict.fromkeys(sorted({min(batch, 1), batch}), inputs)


def _warmup_dims(engine: ServedEngine, spec: TensorSpec, batch: int) -> tuple[int, ...]:
    shapes = engine.manifest.profile.inputs.get(spec.name)
    full = shapes.opt if shapes else tuple(dim if isinstance(dim, int) else 1 for dim in spec.shape)
    return full[1:] if batch else full
