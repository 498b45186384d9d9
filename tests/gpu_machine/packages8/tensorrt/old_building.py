"""Parsing and building as TensorRT 8.5 does it, where it differs: a parser of opset 17, weakly typed networks,
kernels of cuBLAS unless told otherwise, a plan that bears no version in its first bytes.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto

from tensorrt import building, network
from tensorrt.names import ILogger, enums_of

VERSION = building.VERSION = (8, 5, 3, 1)
OPSET = 17
UNKNOWN = ("LayerNormalization", "GroupNormalization", "Gelu", "IsInf")
_SUFFIX = {"QuantizeLinear": "_quantize_scale_node", "DequantizeLinear": "_dequantize_scale_node"}


_of_8 = enums_of("8.5.3.1")
DataType = _of_8("DataType")
NetworkDefinitionCreationFlag = _of_8("NetworkDefinitionCreationFlag")
BuilderFlag = _of_8("BuilderFlag")
TacticSource = _of_8("TacticSource")
PreviewFeature = _of_8("PreviewFeature")

network.TYPES.update(
    {
        TensorProto.FLOAT: DataType.FLOAT,
        TensorProto.FLOAT16: DataType.HALF,
        TensorProto.INT8: DataType.INT8,
        TensorProto.INT32: DataType.INT32,
        TensorProto.INT64: DataType.INT32,
        TensorProto.BOOL: DataType.BOOL,
    }
)
del network.TYPES[TensorProto.BFLOAT16]


class ITensor(network.ITensor):
    is_network_output = False


class ILayer:
    """``precision`` and the types of results are proposals, until the builder is told to obey."""

    name, type, precision, num_outputs = "", network.LayerType.ELEMENTWISE, None, 0

    def __init__(self, node: onnx.NodeProto) -> None:
        self.name = node.name + _SUFFIX.get(node.op_type, "")
        self.type = network._LAYERS.get(node.op_type, network.LayerType.ELEMENTWISE)
        self._node, self._outputs, self._types = node, list[ITensor](), dict[int, DataType]()

    def _give(self, outputs: list[ITensor]) -> None:
        self._outputs, self.num_outputs = outputs, len(outputs)

    def get_output(self, index: int) -> ITensor:
        return self._outputs[index]

    def set_output_type(self, index: int, dtype: DataType) -> None:
        self._types[index] = dtype


network.ITensor, network.ILayer = ITensor, ILayer
del network.INetworkDefinition.add_normalization_v2


class ParserError:
    def __init__(self, index: int, text: str) -> None:
        self._index, self._text = index, text

    def code(self) -> network.ErrorCode:
        return network.ErrorCode.UNSUPPORTED_NODE

    def desc(self) -> str:
        return self._text

    def func(self) -> str:
        return "parseNode"

    def node(self) -> int:
        return self._index


class OnnxParser:
    num_errors = 0

    def __init__(self, network: network.INetworkDefinition, logger: ILogger) -> None:
        self._network, self._errors = network, list[ParserError]()

    def parse_from_file(self, model: str) -> bool:
        found = onnx.load(model)
        self._errors = _misread(found)
        self.num_errors = len(self._errors)
        if self._errors:
            return False
        self._network._take(found)
        values = {v.name: v for v in onnx.shape_inference.infer_shapes(found).graph.value_info}
        values |= {v.name: v for v in found.graph.output}
        results = {value.name for value in found.graph.output}
        for layer in self._network._layers:
            outputs = [ITensor(values[name]) for name in layer._node.output if name]
            for tensor in outputs:
                tensor.is_network_output = tensor.name in results
            layer._give(outputs)
        return True

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]


def _misread(model: onnx.ModelProto) -> list[ParserError]:
    """What the real parser refuses, or reads wrongly without a word."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    if any(opset.version > OPSET for opset in model.opset_import if not opset.domain):
        return [ParserError(0, f"opset {model.opset_import[0].version} is read as {OPSET}")]
    for index, node in enumerate(model.graph.node):
        if node.op_type in UNKNOWN:
            return [ParserError(index, f"No importer registered for op: {node.op_type}")]
        if node.op_type in _SUFFIX:
            scale = constants.get(node.input[1])
            if len(node.input) != 3 or scale is None or scale.data_type != TensorProto.FLOAT:
                return [ParserError(index, "scales are constant FP32, with a zero point")]
            if node.input[0] in constants and constants[node.input[0]].data_type == TensorProto.INT8:
                return [ParserError(index, "invalid weights type of Int8")]
    return []


class IBuilderConfig:
    """That of 11 but for what came later, and with 8.5's own."""

    profiling_verbosity = network.ProfilingVerbosity.LAYER_NAMES_ONLY
    avg_timing_iterations = 1

    def __init__(self) -> None:
        self._profiles: list[network.IOptimizationProfile] = []
        self._flags: set[BuilderFlag] = {BuilderFlag.TF32}
        self._pools: dict[Any, int] = {}
        self._cache: Any = None
        self._tactics = set(TacticSource)
        self._previews: dict[PreviewFeature, bool] = {}

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        self._tactics = {source for source in TacticSource if tactic_sources >> int(source) & 1}
        return True

    def set_preview_feature(self, feature: PreviewFeature, enable: bool) -> None:
        self._previews[feature] = enable


for _name in ("set_flag", "clear_flag", "get_flag", "set_memory_pool_limit", "get_memory_pool_limit"):
    setattr(IBuilderConfig, _name, getattr(network.IBuilderConfig, _name))
for _name in ("add_optimization_profile", "create_timing_cache", "set_timing_cache", "get_timing_cache"):
    setattr(IBuilderConfig, _name, getattr(network.IBuilderConfig, _name))


class Builder(building.Builder):
    def create_network(self, flags: int = 0) -> network.INetworkDefinition:
        assert flags == 1 << int(NetworkDefinitionCreationFlag.EXPLICIT_BATCH), (
            "an implicit batch takes the first axis away"
        )
        return network.INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:  # type: ignore[override]
        return IBuilderConfig()

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:  # type: ignore[override]
        if why := _refusal(network, config):
            self._logger.log(ILogger.Severity.ERROR, why)
            return None
        quantized = any(layer.type.name == "QUANTIZE" for layer in network._layers)
        kind = "int8" if quantized else "fp16" if BuilderFlag.FP16 in config._flags else "fp32"
        building.kind_of = lambda model: kind  # types are no longer in the graph
        plan = super().build_serialized_network(network, config)
        return b"ptrt" + plan[4:] if plan is not None else None


def _refusal(network: Any, config: IBuilderConfig) -> str:
    """Why the real builder would stop, or would not do what it is meant to."""
    external = PreviewFeature.DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805
    if not config._previews.get(external) or config._tactics & {TacticSource.CUBLAS, TacticSource.CUDNN}:
        return "Error Code 1: Unable to load library: libcublas.so.11"
    if any(layer.type.name == "QUANTIZE" for layer in network._layers) and BuilderFlag.INT8 not in config._flags:
        return "Error Code 4: Q/DQ layers want BuilderFlag.INT8"
    stated = any(layer.precision is not None for layer in network._layers)
    if stated and BuilderFlag.OBEY_PRECISION_CONSTRAINTS not in config._flags:
        return "constraints were stated, and the builder was not told to obey"
    return ""
