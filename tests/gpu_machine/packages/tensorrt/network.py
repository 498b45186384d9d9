"""Parsing ONNX into a network, and the builder's configuration."""

from __future__ import annotations

from enum import Enum
from typing import Any

import onnx
from stand_in_faults import strikes

from tensorrt.names import BuilderFlag, DataType, ILogger, LayerType, MemoryPoolType, ProfilingVerbosity

TYPES = {
    onnx.TensorProto.FLOAT: DataType.FLOAT,
    onnx.TensorProto.FLOAT16: DataType.HALF,
    onnx.TensorProto.BFLOAT16: DataType.BF16,
    onnx.TensorProto.INT8: DataType.INT8,
    onnx.TensorProto.INT32: DataType.INT32,
    onnx.TensorProto.INT64: DataType.INT64,
    onnx.TensorProto.BOOL: DataType.BOOL,
}
_LAYERS = {
    "QuantizeLinear": LayerType.QUANTIZE,
    "DequantizeLinear": LayerType.DEQUANTIZE,
    "Conv": LayerType.CONVOLUTION,
}


UNKNOWN = (
    *("BitShift", "ConcatFromSequence", "ConvInteger", "Det", "DynamicQuantizeLinear", "MatMulInteger", "MaxRoiPool"),
    *("MaxUnpool", "Multinomial", "NegativeLogLikelihoodLoss", "QLinearConv", "QLinearMatMul", "SequenceAt"),
    *("SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength", "SplitToSequence"),
    *("StringNormalizer", "TfIdfVectorizer", "Unique"),
)
"""Operators that no release reads. Source: onnx-tensorrt, docs/operators.md, rows of ``N``, and its changelog since."""
PRODUCTS = ("Conv", "Gemm", "MatMul", "ConvTranspose")


def kind_of(model: onnx.ModelProto) -> str:
    """What the graph computes in: ``int8``, ``fp16`` or ``fp32``."""
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return "int8"
    half = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer)
    return "fp16" if half else "fp32"


class ITensor:
    name, dtype, shape = "", DataType.FLOAT, ()

    def __init__(self, value: onnx.ValueInfoProto) -> None:
        kind = value.type.tensor_type
        self.name, self.dtype = value.name, TYPES[kind.elem_type]
        self._dims = [dim.dim_param if dim.HasField("dim_param") else int(dim.dim_value) for dim in kind.shape.dim]
        self.shape = tuple(-1 if isinstance(dim, str) else dim for dim in self._dims)
        self.is_shape_tensor = False

    def get_dimension_name(self, index: int) -> str:
        return str(self._dims[index])


class ILayer:
    name, type, metadata = "", LayerType.ELEMENTWISE, ""

    def __init__(self, node: onnx.NodeProto) -> None:
        self.name, self.type = node.name, _LAYERS.get(node.op_type, LayerType.ELEMENTWISE)
        self.metadata = f"[ONNX Layer: {node.name}]"


class INetworkDefinition:
    _model: onnx.ModelProto | None = None

    def __init__(self) -> None:
        self._inputs: list[ITensor] = []
        self._outputs: list[ITensor] = []
        self._layers: list[ILayer] = []

    def _take(self, model: onnx.ModelProto) -> None:
        """What the parser fills in."""
        constant = {tensor.name for tensor in model.graph.initializer}
        self._model = model
        self._inputs = [ITensor(value) for value in model.graph.input if value.name not in constant]
        self._outputs = [ITensor(value) for value in model.graph.output]
        self._layers = [ILayer(node) for node in model.graph.node]

    num_inputs = property(lambda self: len(self._inputs))
    num_outputs = property(lambda self: len(self._outputs))
    num_layers = property(lambda self: len(self._layers))

    def get_input(self, index: int) -> ITensor:
        return self._inputs[index]

    def get_output(self, index: int) -> ITensor:
        return self._outputs[index]

    def add_normalization_v2(self, input: ITensor, scale: ITensor, bias: ITensor, axesMask: int) -> Any:  # noqa: A002
        raise NotImplementedError("its parser is asked for networks")

    def get_layer(self, index: int) -> ILayer:
        return self._layers[index]


class ErrorCode(Enum):
    UNSUPPORTED_NODE = 8


class ParserError:
    """About the node at ``index``; -1: about the model."""

    def __init__(self, model: onnx.ModelProto, index: int, text: str) -> None:
        self._node = model.graph.node[index] if index >= 0 else onnx.NodeProto()
        self._index, self._text = index, text

    def code(self) -> ErrorCode:
        return ErrorCode.UNSUPPORTED_NODE

    def desc(self) -> str:
        return self._text

    def node(self) -> int:
        return self._index

    def func(self) -> str:
        return "parseNode"

    def node_name(self) -> str:
        return self._node.name

    def node_operator(self) -> str:
        return self._node.op_type


class OnnxParser:
    num_errors = 0

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network, self._errors = network, list[ParserError]()

    def parse_from_file(self, model: str) -> bool:
        found = onnx.load(model)
        self._errors = self._refused(found)
        self.num_errors = len(self._errors)
        if self._errors:
            return False
        self._network._take(found)
        return True

    def _refused(self, model: onnx.ModelProto) -> list[ParserError]:
        """Why the real parser would not take it: no operator of that name, or types that do not fit."""
        for index, node in enumerate(model.graph.node):
            unknown = node.op_type in UNKNOWN or (node.op_type in PRODUCTS and strikes("unparsed", kind_of(model)))
            if unknown and not node.domain:
                return [ParserError(model, index, f"No importer registered for op: {node.op_type}")]
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            return [ParserError(model, -1, str(error))]
        return []

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]


class IOptimizationProfile:
    def __init__(self) -> None:
        self._shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002  # TensorRT's own names
        self._shapes[input] = [list(min), list(opt), list(max)]


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self._content = content or b"timings"

    def serialize(self) -> bytes:
        return self._content


class IBuilderConfig:
    profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
    progress_monitor: Any = None
    builder_optimization_level = 3
    max_aux_streams = -1
    avg_timing_iterations = 1

    def __init__(self) -> None:
        self._profiles: list[IOptimizationProfile] = []
        self._flags = {BuilderFlag.TF32}
        self._pools: dict[MemoryPoolType, int] = {}
        self._cache: ITimingCache | None = None

    def set_flag(self, flag: BuilderFlag) -> None:
        self._flags.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self._flags.discard(flag)

    def get_flag(self, flag: BuilderFlag) -> bool:
        return flag in self._flags

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self._pools[pool] = pool_size

    def get_memory_pool_limit(self, pool: MemoryPoolType) -> int:
        return self._pools.get(pool, 80 << 30)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache
