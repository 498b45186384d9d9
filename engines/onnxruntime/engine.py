"""The CPU engine: ONNX Runtime behind the ``Engine`` protocol."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from engines.engine import Array, EngineBase, Feed, TensorSpec
from engines.errors import EngineError
from engines.feeds.feed_check import FeedCheck
from engines.onnxruntime.reasons import reason_of, refusal_of
from engines.onnxruntime.run import run_session
from engines.parallel import available_cores
from graphs.storage.model_files import model_bytes

CPU_PROVIDER = "CPUExecutionProvider"
_FATAL = 4  # ONNX Runtime logs an error and raises it too; once is enough
_ORT_ERRORS: tuple[type[Exception], ...] = (
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NoSuchFile,
    ort_state.NoModel,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
    ort_state.EPFail,
)
_PROPAGATION = "QDQPropagationTransformer"
"""ONNX Runtime 1.32 moves int8 Q/DQ of opset 21 on through Reshape and Transpose with a uint8 zero point, and then
refuses what it made; without that step such a model runs."""
_FUSED = re.compile(r"in node \(\S*/(\w+Fusion)/")
"""What it says of a node that a fusion made: LayerNormFusion (1.32) takes the parts of a layer norm on both sides of a
Cast for one, and then refuses it for its two types. A step may run at two levels, under names of their own."""
_CONVERTED = ("bfloat16", "object")
"""``run_session`` makes bfloat16 of whatever numbers it is given; strings come as arrays of several dtypes."""
_FLOAT_PRODUCTS = "session.qdq_matmulnbits_accuracy_level", "1"
"""Least precision of MatMulNBits: 1 is float32, 4, the default, INT8."""
LARGE_BYTES = 1 << 28
"""Weights beyond which a lean session leaves them unpacked; below, twice their size is no matter. Chosen."""
_NUMPY_NAMES = {
    "float": "float32",
    "double": "float64",
    "string": "object",
    **{name: name for name in ("float16", "bfloat16", "bool")},
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


class OnnxRuntimeEngine(EngineBase):
    """Runs an ONNX model on the CPU, or on another ``provider``.

    ``model`` is a path (external data is found next to it, weights are read by ONNX Runtime itself) or a serialized
    model. ``threads`` is the size of the intra-op pool, all available cores by default. ``fuse_qdq=False`` runs Q/DQ
    nodes as they stand, in float (session option ``session.disable_quant_qdq``): a simulation of what the typed graph
    computes on a GPU. ``float_products`` has products with INT4 weights (MatMulNBits) compute in float, as ONNX says;
    else the data is rounded to INT8 first. ``memory_pattern=False`` allocates tensors one by one, cheaper where most of
    them are outputs. ``lean=True`` runs models over 256 MiB without packing or unfolding their weights: slower, and
    less than half the memory; ``large`` says whether it is one, where that is known. ``provider`` is who runs it, the
    CPU or a GPU's (``engines.onnxruntime.provider``). ``spin=False`` has its threads wait for work without a core, as
    ``lean`` does. ``infer`` may be called from several threads at once. Raises ``EngineError`` naming the file when
    ONNX Runtime refuses the model.
    """

    def __init__(
        self,
        model: Path | bytes,
        *,
        threads: int | None = None,
        fuse_qdq: bool = True,
        float_products: bool = False,
        memory_pattern: bool = True,
        lean: bool = False,
        large: bool | None = None,
        provider: str = CPU_PROVIDER,
        spin: bool = True,
    ) -> None:
        self._where = str(model) if isinstance(model, Path) else "serialized model"
        options = _options(threads or available_cores(), fuse_qdq, memory_pattern)
        if float_products:
            options.add_session_config_entry(*_FLOAT_PRODUCTS)
        disabled: list[str] = []
        if lean or not spin:  # who waits for threads by spinning takes the cores of whatever else runs
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if lean and isinstance(model, Path) and (is_large(model) if large is None else large):
            options.add_session_config_entry("session.disable_prepacking", "1")
            options.enable_cpu_mem_arena = options.enable_mem_pattern = False  # each weight unfolded is given back
            disabled = ["ConstantFolding"]  # it would store INT8 and FP16 weights again in float
        self._session: Any = _open_session(model, self._where, options, disabled, provider)
        self._inputs = tensor_specs(self._session.get_inputs(), self._where)
        self._outputs = tensor_specs(self._session.get_outputs(), self._where)
        self._output_names = [spec.name for spec in self._outputs]
        self._check = FeedCheck(self._inputs, self._where, unchecked=_CONVERTED)
        self._on_one_core = partial(
            OnnxRuntimeEngine,
            model,
            threads=1,
            fuse_qdq=fuse_qdq,
            float_products=float_products,
            memory_pattern=memory_pattern,
            lean=lean,
            large=large,
            provider=provider,
        )

    def on_one_core(self) -> OnnxRuntimeEngine:
        """The same model in another session, whose runs use one core each; a model's file must still be there."""
        engine = self._on_one_core()
        engine.learn(self._inputs, self._outputs)
        return engine

    def infer(self, feed: Feed) -> dict[str, Array]:
        """Run once; every output by name. Raises ``EngineError`` naming the input that does not fit."""
        if self._session is None:
            raise EngineError("the engine is closed", where=self._where)
        self._check(feed)
        try:
            values = run_session(self._session, feed, self._inputs, self._outputs)
        except _ORT_ERRORS as error:
            raise EngineError(reason_of(error), where=self._where, expected=self._check.signature()) from error
        return dict(zip(self._output_names, values, strict=True))

    def close(self) -> None:
        self._session = None


def is_large(model: Path) -> bool:
    """Whether a model and its external data exceed 256 MiB."""
    return model_bytes(model) > LARGE_BYTES


def _options(threads: int, fuse_qdq: bool, memory_pattern: bool) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = memory_pattern
    if not fuse_qdq:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options


def _open_session(model: Path | bytes, where: str, options: Any, disabled: list[str], provider: str) -> Any:
    source = str(model) if isinstance(model, Path) else model
    # else it prints why another provider than the CPU's did not start, and goes on with that
    strict = {} if provider == CPU_PROVIDER else {"enable_fallback": 0}
    try:
        return ort.InferenceSession(
            source, options, providers=[provider], disabled_optimizers=disabled or None, **strict
        )
    except _ORT_ERRORS as error:
        fault = [name for name in _at_fault(str(error)) if name not in disabled]
        if fault:
            return _open_session(model, where, options, [*disabled, *fault], provider)
        raise EngineError(refusal_of(error), where=where) from error


def _at_fault(refusal: str) -> tuple[str, ...]:
    """Names of the step of optimization whose own work ONNX Runtime refuses; none where it refuses the model's."""
    if "does not match y_zero_point type" in refusal:
        return (_PROPAGATION,)
    fused = _FUSED.search(refusal)
    return (fused[1], f"{fused[1]}L1", f"{fused[1]}L2") if fused else ()


def tensor_specs(nodes: Iterable[Any], where: str) -> tuple[TensorSpec, ...]:
    """Specs of a session's inputs or outputs. Raises ``EngineError`` for what is no tensor."""
    return tuple(_spec(node, where) for node in nodes)


def _spec(node: Any, where: str) -> TensorSpec:
    element = node.type.removeprefix("tensor(").removesuffix(")")
    if element not in _NUMPY_NAMES:
        raise EngineError(f"{node.name!r} is a {node.type}, only tensors can be fed and read", where=where)
    shape = tuple(size if isinstance(size, int) else size or "?" for size in node.shape)
    return TensorSpec(node.name, _NUMPY_NAMES[element], shape)
