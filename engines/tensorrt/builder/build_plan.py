"""Parse an ONNX model and build a plan from it, in this process. ``process.py`` runs it in a child."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from engines.engine import TensorSpec
from engines.layers import LayerInfo
from engines.profile import ShapeProfile
from engines.tensorrt.builder.blame import BlamedGraph
from engines.tensorrt.builder.build_log import LayerRoles, read_layers, read_memory, read_sparse_tactics, read_sparsity
from engines.tensorrt.builder.configuration import configure, watch
from engines.tensorrt.builder.exits import INSPECTING, PARSING
from engines.tensorrt.builder.failures import build_failure
from engines.tensorrt.builder.inspection import inspect, read_inspection
from engines.tensorrt.builder.layer_types import state_types
from engines.tensorrt.builder.messages import BuildMessages
from engines.tensorrt.builder.node_layers import layers_of, nodes_in_name, nodes_of_layers
from engines.tensorrt.builder.parsing import parse
from engines.tensorrt.builder.request import PlanBuilt, PlanRequest, StepDone
from engines.tensorrt.builder.timing import timing_cache
from engines.tensorrt.differences import lacks_kernels
from engines.tensorrt.dtypes import TENSORRT_TYPES, type_name
from engines.tensorrt.io_names import own_name
from engines.tensorrt.library import Library, listening, load_library
from engines.tensorrt.options import plugin_libraries
from engines.tensorrt.plugins import load_plugins
from engines.tensorrt.starting import new_builder

OnStep: TypeAlias = Callable[[StepDone], None]
OnBuilt: TypeAlias = Callable[[PlanBuilt], None]


@dataclass(frozen=True)
class _Parsed:
    """A network with what its layers execute: ``nodes`` by layer, in order."""

    network: Any
    graph: BlamedGraph
    layers: Sequence[Any]
    nodes: Sequence[tuple[str, ...]]

    def of_kind(self, *kinds: str) -> list[str]:
        """ONNX nodes of the layers of these kinds (``"QUANTIZE"``)."""
        found = (n for layer, n in zip(self.layers, self.nodes, strict=True) if str(layer.type).endswith(kinds))
        return [node for nodes in found for node in nodes]

    def unnamed(self) -> dict[str, str]:
        """The ONNX node, by layer, of those named by their number alone: nodes are imported one by one, and
        such a layer comes before one that is named after the node.
        """
        found: dict[str, str] = {}
        following = ""
        for layer, nodes in zip(reversed(self.layers), reversed(self.nodes), strict=True):
            following = nodes[0] if nodes else following
            if "(Unnamed" in str(layer.name):
                found[str(layer.name)] = following
        return found

    @property
    def quantizers(self) -> list[str]:
        return self.of_kind(".QUANTIZE")

    @property
    def dequantizers(self) -> list[str]:
        return self.of_kind(".DEQUANTIZE")


def build_plan(
    request: PlanRequest, on_step: OnStep, messages: BuildMessages, on_built: OnBuilt = lambda built: None
) -> PlanBuilt:
    """Build ``request.plan`` and describe it.

    The network's types are the graph's own where the library is strongly typed: nothing is cast or quantized by the
    builder; in TensorRT 8 they follow ``request.node_types`` (``layer_types``). ``on_built`` gets the description
    before the engine is looked into, which may crash. Raises ``BuildError`` with the ONNX node where TensorRT names
    one, ``BadInput`` for an option that does not exist.
    """
    library = load_library(request.library)
    with listening(messages.receive):
        builder = new_builder(library)
        load_plugins(library, builder, plugin_libraries(request.options))
        started = time.perf_counter()
        on_step(StepDone(PARSING))
        parsed = _parse(library, builder, request, messages)
        parsing_done = time.perf_counter()
        config, notes = configure(library, builder, parsed.network, request)
        remarks = state_types(library, parsed.network, config, parsed.layers, parsed.nodes, request.node_types)
        timings = timing_cache(library, request.timing_cache, request.sm)
        if timings and (warning := timings.attach(config)):
            notes += (warning,)
        watch(library, config, on_step)
        on_step(StepDone("building"))
        plan = _build(library, builder, config, parsed, messages, request)
        building_done = time.perf_counter()
        on_step(StepDone("writing"))
        with Path(request.plan).open("wb") as file:
            file.write(memoryview(plan))
        if timings:
            timings.save(config)
    network = parsed.network
    built = PlanBuilt(
        library_version=library.version,
        inputs=_own_inputs(network, request.profiles),
        outputs=_specs(network.get_output, network.num_outputs),
        layers=read_layers(reversed(messages.of("VERBOSE")), parsed.quantizers, parsed.dequantizers),
        memory=read_memory(messages.of("INFO", "VERBOSE")),
        warnings=tuple(dict.fromkeys(messages.of("WARNING"))),
        sparsity=read_sparsity(messages.texts()),
        sparse_tactics=read_sparse_tactics(messages.texts()),
        parse_seconds=parsing_done - started,
        build_seconds=building_done - parsing_done,
        notes=notes,
        remarks=remarks,
    )
    if library.capabilities.compute_capability_targets:
        return built  # for a GPU that need not be here
    on_built(built)
    on_step(StepDone(INSPECTING))
    return replace(built, layers=_inspected(library, plan, parsed) or built.layers)


def _parse(library: Library, builder: Any, request: PlanRequest, messages: BuildMessages) -> _Parsed:
    graph = BlamedGraph(Path(request.model))
    network = parse(library, builder, graph, messages)
    layers = layers_of(network)
    return _Parsed(network, graph, layers, nodes_of_layers(library, layers, graph))


def _build(
    library: Library, builder: Any, config: Any, parsed: _Parsed, messages: BuildMessages, request: PlanRequest
) -> Any:
    plan = builder.build_serialized_network(parsed.network, config)
    if plan is None:
        errors = messages.of("ERROR", "INTERNAL_ERROR")
        control_flow = next(iter(parsed.of_kind(".CONDITIONAL_OUTPUT", ".LOOP_OUTPUT")), "")
        operators = parsed.graph.operators()
        typed = "fp16" if parsed.graph.has_half else request.precision
        lacking = lacks_kernels(library)
        raise build_failure(errors, operators, control_flow, typed, lacking, parsed.unnamed())
    return plan


def _inspected(library: Library, plan: Any, parsed: _Parsed) -> tuple[LayerInfo, ...]:
    """What the plan is made of, in the inspector's words; empty where it has none."""
    roles = LayerRoles(frozenset(parsed.quantizers), frozenset(parsed.dequantizers))
    return read_inspection(inspect(library, plan), roles, lambda name: nodes_in_name(name, parsed.graph))


def _own_inputs(network: Any, profiles: Sequence[ShapeProfile]) -> tuple[TensorSpec, ...]:
    """The inputs under the graph's own names."""
    given = {name for profile in profiles for name in profile.inputs}
    outputs = {network.get_output(index).name for index in range(network.num_outputs)}
    specs = _specs(network.get_input, network.num_inputs)
    return tuple(s if s.name in given else replace(s, name=own_name(s.name, outputs)) for s in specs)


def _specs(get: Callable[[int], Any], count: int) -> tuple[TensorSpec, ...]:
    return tuple(_spec(get(index)) for index in range(count))


def _spec(tensor: Any) -> TensorSpec:
    dtype = type_name(tensor.dtype)
    shape = tuple(
        (tensor.get_dimension_name(axis) or "?") if size == -1 else int(size) for axis, size in enumerate(tensor.shape)
    )
    return TensorSpec(tensor.name, TENSORRT_TYPES.get(dtype, dtype.lower()), shape)
