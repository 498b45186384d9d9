"""The layer table of a plan as TensorRT's engine inspector gives it: JSON, alike from 8.5 to 11.

The inspector wants the plan loaded, so a GPU: where one is at hand it is asked, and the build log (``build_log``),
whose words change from version to version, is what remains for plans that are built ahead of time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engines.errors import EngineError
from engines.layers import LayerInfo
from engines.tensorrt.builder.build_log import LayerRoles, onnx_nodes, type_named
from engines.tensorrt.builder.untold_types import Read, told
from engines.tensorrt.differences import new_context
from engines.tensorrt.library import Library
from engines.tensorrt.starting import new_runtime

NamedNodes = Callable[[str], tuple[str, ...]]
"""The ONNX nodes in a layer's name, for versions whose layers carry no metadata."""
_AGAIN = re.compile(r" \[profile [1-9]\d*\]$")
"""Ends the names of the layers once more, for each optimization profile after the first."""


def inspect(library: Library, plan: Any) -> str:
    """The inspector's JSON for a serialized plan; empty where it cannot be loaded here."""
    try:
        runtime = new_runtime(library)
    except EngineError:
        return ""
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        return ""
    inspector = engine.create_engine_inspector()
    context = new_context(library, engine, caller_memory=True)
    if context is not None:  # for a dynamic plan types are told for concrete shapes only
        _set_usual_shapes(library, engine, context)
        inspector.execution_context = context
    return str(inspector.get_engine_information(library.module.LayerInformationFormat.JSON))


def _set_usual_shapes(library: Library, engine: Any, context: Any) -> None:
    modes = library.module.TensorIOMode
    for name in (engine.get_tensor_name(index) for index in range(engine.num_io_tensors)):
        if engine.get_tensor_mode(name) == modes.INPUT and -1 in tuple(engine.get_tensor_shape(name)):
            _, usual, _ = engine.get_tensor_profile_shape(name, 0)
            context.set_input_shape(name, tuple(usual))


def read_inspection(text: str, roles: LayerRoles, named: NamedNodes) -> tuple[LayerInfo, ...]:
    """The layers in an inspector's JSON, of the first optimization profile; empty where it is none, or names layers
    without describing them."""
    try:
        described = json.loads(text)
    except ValueError:
        return ()
    layers = described.get("Layers", []) if isinstance(described, Mapping) else []
    once = [layer for layer in layers if isinstance(layer, Mapping) and not _AGAIN.search(str(layer.get("Name", "")))]
    return told(
        [Read(_layer(layer, roles, named), _names(layer, "Inputs"), _names(layer, "Outputs")) for layer in once]
    )


def _names(layer: Mapping[str, Any], side: str) -> tuple[str, ...]:
    return tuple(str(tensor.get("Name", "")) for tensor in layer.get(side, ()) if isinstance(tensor, Mapping))


def _layer(layer: Mapping[str, Any], roles: LayerRoles, named: NamedNodes) -> LayerInfo:
    name, kind = str(layer.get("Name", "")), str(layer.get("LayerType", ""))
    nodes = onnx_nodes(layer["Metadata"]) if "Metadata" in layer else named(name)
    return LayerInfo(
        name=name,
        kind=kind,
        inputs=_tensors(layer.get("Inputs", ())),
        constants=_tensors(layer.get("Constants", ())) or _weights(layer),
        outputs=_tensors(layer.get("Outputs", ())),
        tactic=str(layer.get("TacticName", "")),
        onnx_nodes=nodes,
        role=roles.of(kind, nodes),
    )


def _tensors(tensors: Iterable[Any]) -> tuple[str, ...]:
    described = (tensor for tensor in tensors if isinstance(tensor, Mapping))
    return tuple(type_named(str(t.get("Datatype") or t.get("Format/Datatype") or "")) for t in described)


def _weights(layer: Mapping[str, Any]) -> tuple[str, ...]:
    """Types of a layer's weights and bias as 8.x and 10 write them: ``{"Type": "Int8", "Count": 864}``."""
    parts = (layer.get(part) for part in ("Weights", "Bias", "ConvWeights", "ConvBias"))
    return tuple(type_named(str(p["Type"])) for p in parts if isinstance(p, Mapping) and p.get("Count"))
