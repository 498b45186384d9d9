"""The builder: a plan is a frame as TensorRT writes it, a description in JSON, and the ONNX model."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import onnx
from onnx import TensorProto, helper
from stand_in_faults import strikes, wrong_operator

from tensorrt.names import BuilderFlag, ILogger, NetworkDefinitionCreationFlag
from tensorrt.network import PRODUCTS, IBuilderConfig, INetworkDefinition, IOptimizationProfile, ITensor, kind_of

VERSION = (11, 4, 0, 106)
FRAME = struct.Struct("<4sIIIQ4B4sI")
LENGTH = struct.Struct("<Q")


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        assert flags & 1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        assert network._model is not None
        kind = kind_of(network._model)
        if why := _without_profile(network, config):
            self._logger.log(ILogger.Severity.ERROR, why)
            return None
        if strikes("refuse", kind):
            first = next(node.name for node in network._model.graph.node if node.op_type in PRODUCTS)
            text = (
                f"[optimizer.cpp] Error Code 10: Internal Error (Could not find any implementation for node {first}.)"
            )
            self._logger.log(ILogger.Severity.ERROR, text)
            return None
        if config.get_flag(BuilderFlag.SPARSE_WEIGHTS):
            names = [node.name for node in network._model.graph.node if node.op_type in PRODUCTS]
            for text in (
                f"(Sparsity) Found {len(names)} layer(s) eligible to use sparse tactics: {', '.join(names)}",
                f"(Sparsity) Chose 1 layer(s) using sparse tactics: {names[0]}",
            ):
                self._logger.log(ILogger.Severity.INFO, text)
        about = {
            "kind": kind,
            "layers": list(_layers(network._model, kind)),
            "profiles": [profile._shapes for profile in config._profiles],
            "inputs": [_about(network.get_input(index)) for index in range(network.num_inputs)],
            "outputs": [_about(network.get_output(index)) for index in range(network.num_outputs)],
        }
        header, body = json.dumps(about).encode(), _computed(network._model, kind).SerializeToString()
        version = (10, 0, 0, 0) if strikes("foreign", kind) else VERSION
        frame = FRAME.pack(b"ftrt", 0, 1, 0, len(header) + len(body), *version, b"ftrt", 0)
        return frame + LENGTH.pack(len(header)) + header + body


def _without_profile(network: INetworkDefinition, config: IBuilderConfig) -> str:
    """Why the real builder would not begin: a dynamic input of which no profile says how large it gets."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    dynamic = [tensor.name for tensor in inputs if -1 in tensor.shape]
    if dynamic and not config._profiles:
        return "API Usage Error (Network has dynamic or shape inputs, but no optimization profile has been defined.)"
    open_ = [name for name in dynamic for profile in config._profiles if name not in profile._shapes]
    return f"Error Code 4: Internal Error ({open_[0]}: dynamic input is missing dimensions in profile)" if open_ else ""


def _computed(model: onnx.ModelProto, kind: str) -> onnx.ModelProto:
    """What the plan will compute: the model, but for a kernel that makes what is positive a tenth larger."""
    wrong = next((node for node in model.graph.node if node.name == wrong_operator(kind)), None)
    if wrong is None:
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    node = next(node for node in made.graph.node if node.name == wrong.name)
    result, right = node.output[0], f"{node.output[0]}/right"
    node.output[0] = right
    position = list(made.graph.node).index(node) + 1
    for extra in reversed(_off_by_a_tenth(right, result)):
        made.graph.node.insert(position, extra)
    made.graph.initializer.append(helper.make_tensor("tenth/factor", TensorProto.FLOAT, [], [1.1]))
    return made


def _off_by_a_tenth(right: str, result: str) -> list[onnx.NodeProto]:
    """Negative values as they are, others a tenth larger, in whatever type."""
    return [
        helper.make_node("CastLike", ["tenth/factor", right], ["tenth/typed"], "tenth/cast"),
        helper.make_node("Mul", [right, "tenth/typed"], ["tenth/more"], "tenth/mul"),
        helper.make_node("Max", [right, "tenth/more"], [result], "tenth/max"),
    ]


def _about(tensor: ITensor) -> dict[str, object]:
    return {"name": tensor.name, "dtype": tensor.dtype.name, "shape": list(tensor.shape)}


def _layers(model: onnx.ModelProto, kind: str) -> Iterator[dict[str, Any]]:
    """The layer table: Q/DQ are fused into the product that reads them, other nodes stand alone."""
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    high = "Float" if kind == "fp32" else "Half"
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "Constant", "Cast"):
            continue
        integer = node.op_type in PRODUCTS and makers.get(node.input[0]) == "DequantizeLinear"
        yield {
            "Name": f"{node.name}_myl0",
            "LayerType": node.op_type.lower(),
            "Inputs": [{"Name": "a", "Dimensions": [1], "Datatype": "Int8" if integer else high}],
            "Outputs": [{"Name": "b", "Dimensions": [1], "Datatype": high}],
            "TacticName": "sm80_made_up",
            "Metadata": f"[ONNX Layer: {node.name}]",
        }
