"""Parse an ONNX model and build a plan from it, in this process. ``process.py`` runs it in a child."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from engines.engine import TensorSpec
from engines.errors import BuildError, BuildFailure
from engines.profile import ShapeProfile
from engines.tensorrt.builder.blame import BlamedGraph
from engines.tensorrt.builder.build_log import onnx_nodes, read_layers, read_memory, read_sparsity
from engines.tensorrt.builder.exits import PARSING
from engines.tensorrt.builder.failure_rules import UINT8_WARNING, UNKNOWN_TYPE
from engines.tensorrt.builder.failures import (
    ParserMessage,
    build_failure,
    empty_network,
    parse_failure,
    uint8_quantization,
)
from engines.tensorrt.builder.request import PlanBuilt, PlanRequest, StepDone
from engines.tensorrt.builder.timing import timing_cache
from engines.tensorrt.dtypes import TENSORRT_TYPES, type_name
from engines.tensorrt.io_names import own_name
from engines.tensorrt.library import Library, listening, load_library, process_logger
from engines.tensorrt.options import apply_options, plugin_libraries
from engines.tensorrt.plugins import load_plugins

OnStep: TypeAlias = Callable[[StepDone], None]


@dataclass
class BuildMessages:
    """Everything TensorRT said during one build, in order; ``sink`` gets each message as it comes."""

    all: list[tuple[str, str]] = field(default_factory=list)
    sink: Callable[[str, str], None] = lambda level, message: None

    def receive(self, level: str, message: str) -> None:
        self.all.append((level, message))
        self.sink(level, message)

    def of(self, *levels: str) -> list[str]:
        return [message for level, message in self.all if level in levels]

    def texts(self) -> list[str]:
        return [message for _, message in self.all]


def build_plan(request: PlanRequest, on_step: OnStep, messages: BuildMessages) -> PlanBuilt:
    """Build ``request.plan`` and describe it.

    The network's types are the graph's own (strongly typed): nothing is cast or quantized by the builder. Raises
    ``BuildError`` with the ONNX node where TensorRT names one, ``BadInput`` for an option that does not exist.
    """
    library = load_library(request.library)
    with listening(messages.receive):
        builder = library.module.Builder(process_logger(library))
        load_plugins(library, builder, plugin_libraries(request.options))
        started = time.perf_counter()
        on_step(StepDone(PARSING))
        network = _parse(library, builder, request.model, messages)
        parsed = time.perf_counter()
        config, notes = _configure(library, builder, network, request)
        timings = timing_cache(library, request.timing_cache, request.sm)
        if timings and (warning := timings.attach(config)):
            notes += (warning,)
        _watch(library, config, on_step)
        on_step(StepDone("building"))
        plan = _build(builder, network, config, messages, request)
        built = time.perf_counter()
        on_step(StepDone("writing"))
        with Path(request.plan).open("wb") as file:
            file.write(memoryview(plan))
        if timings:
            timings.save(config)
    return PlanBuilt(
        library_version=library.version,
        inputs=_own_inputs(network, request.profiles),
        outputs=_specs(network.get_output, network.num_outputs),
        layers=read_layers(
            reversed(messages.of("VERBOSE")), _nodes_of(network, ".QUANTIZE"), _nodes_of(network, ".DEQUANTIZE")
        ),
        memory=read_memory(messages.of("INFO", "VERBOSE")),
        warnings=tuple(dict.fromkeys(messages.of("WARNING"))),
        sparsity=read_sparsity(messages.texts()),
        parse_seconds=parsed - started,
        build_seconds=built - parsed,
        notes=notes,
    )


def _parse(library: Library, builder: Any, model: str, messages: BuildMessages) -> Any:
    module = library.module
    flags = 0
    if library.capabilities.needs_strongly_typed_flag:
        flags |= 1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)  # the parser keeps no reference: this one must outlive it
    parser = module.OnnxParser(network, process_logger(library))
    if not parser.parse_from_file(model):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        graph = BlamedGraph(Path(model))
        raise parse_failure([_message(error, graph) for error in errors], messages.of("ERROR", "INTERNAL_ERROR"))
    if network.num_layers == 0 or network.num_outputs == 0:
        raise empty_network()
    if any(UINT8_WARNING in warning for warning in messages.of("WARNING")):
        raise uint8_quantization(_first_quantize(network))
    return network


def _message(error: Any, graph: BlamedGraph) -> ParserMessage:
    code, text = str(error.code()).rpartition(".")[2], error.desc() or ""
    node = error.node_name()
    if not node and UNKNOWN_TYPE in text:
        node, odd = graph.odd_input()
        return ParserMessage(code, node, "", text, odd=odd or "of a type")
    operator = error.node_operator() or (error.func() or "").partition("import")[2]  # errors of attributes name neither
    node = node or graph.only(operator)
    outputs = graph.further_outputs(node) if "output" in text else "more"
    return ParserMessage(code, node, operator, text, outputs)


def _first_quantize(network: Any) -> str:
    layers = (network.get_layer(index) for index in range(network.num_layers))
    return next((str(layer.name) for layer in layers if str(layer.type).endswith(".QUANTIZE")), "")


def _configure(library: Library, builder: Any, network: Any, request: PlanRequest) -> tuple[Any, tuple[str, ...]]:
    """The builder configuration, and what of the options the library does not use."""
    module = library.module
    config = builder.create_builder_config()
    config.profiling_verbosity = module.ProfilingVerbosity.DETAILED
    if request.sparse_weights:
        config.set_flag(module.BuilderFlag.SPARSE_WEIGHTS)
    _set_compute_capability(library, config, request.sm)
    for shapes in request.profiles:
        _add_profile(builder, network, config, shapes)
    return config, apply_options(request.options, library, config)


def _set_compute_capability(library: Library, config: Any, sm: str) -> None:
    """Always declare the GPU: an undeclared Turing gets plans that compute zeros (pytorch/TensorRT PR 4643)."""
    known = library.capabilities.compute_capability_targets
    if not known:
        return  # full TensorRT builds for the GPU at hand
    if sm not in known:
        raise BuildError(
            BuildFailure.UNSUPPORTED_TYPE, f"{library.title} does not build for {sm}", expected=", ".join(known)
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(library.module.ComputeCapability, sm), 0)


def _add_profile(builder: Any, network: Any, config: Any, shapes: ShapeProfile) -> None:
    inputs = {tensor.name: tensor for tensor in (network.get_input(i) for i in range(network.num_inputs))}
    dynamic = {name: tensor for name, tensor in inputs.items() if -1 in tuple(tensor.shape)}
    if not dynamic:
        return
    profile = builder.create_optimization_profile()
    outputs = _names(network.get_output, network.num_outputs)
    for binding, tensor in dynamic.items():
        name = binding if binding in shapes.inputs else own_name(binding, outputs)
        if name not in shapes.inputs:
            raise BuildError(
                BuildFailure.SHAPE,
                f"input has dynamic shape {tuple(tensor.shape)} and no shapes were given for it",
                where=name,
                fix=f"--shape {name}=MIN:OPT:MAX, or --data to take the shapes from",
            )
        given = shapes.inputs[name]
        profile.set_shape(binding, given.min, given.opt, given.max)
    config.add_optimization_profile(profile)


def _watch(library: Library, config: Any, on_step: OnStep) -> None:
    if not library.capabilities.progress_monitor:
        return
    base: Any = library.module.IProgressMonitor

    class Monitor(base):  # type: ignore[misc]  # the base is known only at run time
        def __init__(self) -> None:
            base.__init__(self)
            self.totals: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.totals[phase_name] = num_steps
            on_step(StepDone(phase_name, 0, num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            on_step(StepDone(phase_name, step + 1, self.totals.get(phase_name, 0)))
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.totals.pop(phase_name, None)

    config.progress_monitor = Monitor()


def _build(builder: Any, network: Any, config: Any, messages: BuildMessages, request: PlanRequest) -> Any:
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        operators = BlamedGraph(Path(request.model)).operators()
        errors = messages.of("ERROR", "INTERNAL_ERROR")
        raise build_failure(errors, operators, _first_control_flow(network), request.precision)
    return plan


def _nodes_of(network: Any, kind: str) -> list[str]:
    """ONNX nodes of the network's layers whose type ends with ``kind``."""
    layers = (network.get_layer(index) for index in range(network.num_layers))
    return [node for layer in layers if str(layer.type).endswith(kind) for node in onnx_nodes(layer.metadata)]


def _first_control_flow(network: Any) -> str:
    for layer in (network.get_layer(index) for index in range(network.num_layers)):
        if str(layer.type).endswith((".CONDITIONAL_OUTPUT", ".LOOP_OUTPUT")) and layer.metadata:
            return next(iter(onnx_nodes(layer.metadata)), "")
    return ""


def _own_inputs(network: Any, profiles: Sequence[ShapeProfile]) -> tuple[TensorSpec, ...]:
    """The inputs under the graph's own names."""
    given = {name for profile in profiles for name in profile.inputs}
    outputs = set(_names(network.get_output, network.num_outputs))
    specs = _specs(network.get_input, network.num_inputs)
    return tuple(s if s.name in given else replace(s, name=own_name(s.name, outputs)) for s in specs)


def _names(get: Callable[[int], Any], count: int) -> list[str]:
    return [str(get(index).name) for index in range(count)]


def _specs(get: Callable[[int], Any], count: int) -> tuple[TensorSpec, ...]:
    return tuple(_spec(get(index)) for index in range(count))


def _spec(tensor: Any) -> TensorSpec:
    dtype = type_name(tensor.dtype)
    shape = tuple(
        (tensor.get_dimension_name(axis) or "?") if size == -1 else int(size) for axis, size in enumerate(tensor.shape)
    )
    return TensorSpec(tensor.name, TENSORRT_TYPES.get(dtype, dtype.lower()), shape)
