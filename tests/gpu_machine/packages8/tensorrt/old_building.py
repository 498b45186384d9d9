"""Parsing and building as TensorRT 8.5 does it, where it differs: a parser of opset 17, weakly typed networks,
kernels of cuBLAS unless told otherwise, a plan that bears no version in its first bytes.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto
from stand_in_names import enums_of, without

from tensorrt import building, network
from tensorrt.names import ILogger

VERSION = building.VERSION = (8, 5, 3, 1)
OPSET = 17
network.UNKNOWN += ("LayerNormalization", "GroupNormalization", "Gelu", "IsInf", "Mish", "Hardmax", "CastLike")
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


for _name in ("node_name", "node_operator"):  # 8.5 tells the number of a node alone
    delattr(network.ParserError, _name)


class OnnxParser(network.OnnxParser):
    def parse_from_file(self, model: str) -> bool:
        if not super().parse_from_file(model):
            return False
        found = self._network._model
        assert found is not None
        values = {v.name: v for v in onnx.shape_inference.infer_shapes(found).graph.value_info}
        values |= {v.name: v for v in found.graph.output}
        results = {value.name for value in found.graph.output}
        for layer in self._network._layers:
            outputs = [ITensor(values[name]) for name in layer._node.output if name]
            for tensor in outputs:
                tensor.is_network_output = tensor.name in results
            layer._give(outputs)
        return True

    def _refused(self, model: onnx.ModelProto) -> list[network.ParserError]:
        """That, and what the real parser would read wrongly without a word."""
        return super()._refused(model) or _misread(model)


def _misread(model: onnx.ModelProto) -> list[network.ParserError]:
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    if any(opset.version > OPSET for opset in model.opset_import if not opset.domain):
        return [network.ParserError(model, 0, f"opset {model.opset_import[0].version} is read as {OPSET}")]
    for index, node in enumerate(model.graph.node):
        if node.op_type in _SUFFIX:
            scale = constants.get(node.input[1])
            if len(node.input) != 3 or scale is None or scale.data_type != TensorProto.FLOAT:
                return [network.ParserError(model, index, "scales are constant FP32, with a zero point")]
            if node.input[0] in constants and constants[node.input[0]].data_type == TensorProto.INT8:
                return [network.ParserError(model, index, "invalid weights type of Int8")]
    return []


_Config = without(network.IBuilderConfig, "progress_monitor", "builder_optimization_level", "max_aux_streams")


class IBuilderConfig(_Config):  # type: ignore[misc]
    """That of 11 but for what came later, and with 8.5's own."""

    def __init__(self) -> None:
        super().__init__()
        self._flags: set[BuilderFlag] = {BuilderFlag.TF32}
        self._tactics = set(TacticSource)
        self._previews: dict[PreviewFeature, bool] = {}

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        self._tactics = {source for source in TacticSource if tactic_sources >> int(source) & 1}
        return True

    def set_preview_feature(self, feature: PreviewFeature, enable: bool) -> None:
        self._previews[feature] = enable


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
