"""How a network is to be built: the GPU, the shapes, the user's options, and who watches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engines.errors import BuildError, BuildFailure
from engines.profile import ShapeProfile
from engines.tensorrt.builder.request import PlanRequest, StepDone
from engines.tensorrt.differences import prepare_config
from engines.tensorrt.io_names import own_name
from engines.tensorrt.library import Library
from engines.tensorrt.options import apply_options

PROFILE_COPIES = 2
"""How often a dynamic plan holds each of its profiles where no two contexts may share one (TensorRT 8.5): so many
batches can be in flight. Chosen: copies of one batch overlap the other's compute, and each copy is a part of the
build again."""


def configure(library: Library, builder: Any, network: Any, request: PlanRequest) -> tuple[Any, tuple[str, ...]]:
    """The builder configuration, and notes: what of the options the library does not use, which kernels are
    missing."""
    module = library.module
    config = builder.create_builder_config()
    config.profiling_verbosity = module.ProfilingVerbosity.DETAILED
    if request.sparse_weights:
        config.set_flag(module.BuilderFlag.SPARSE_WEIGHTS)
    _set_compute_capability(library, config, request.sm)
    missing = prepare_config(library, config)
    for _ in range(1 if library.capabilities.shared_profiles else PROFILE_COPIES):
        for shapes in request.profiles:
            _add_profile(builder, network, config, shapes)
    return config, (*apply_options(request.options, library, config), *([missing] if missing else ()))


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
    _refuse_sizes(inputs)
    if not dynamic:
        return
    profile = builder.create_optimization_profile()
    outputs = [network.get_output(index).name for index in range(network.num_outputs)]
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


def _refuse_sizes(inputs: Mapping[str, Any]) -> None:
    """An input whose numbers are sizes would need bounds for its values, and memory of the host when it is fed."""
    name = next((name for name, tensor in inputs.items() if tensor.is_shape_tensor), None)
    if name is not None:
        raise BuildError(
            BuildFailure.SHAPE,
            "TensorRT makes sizes of this input's values (a shape tensor), and plans are not built for such inputs",
            where=name,
            fix="make it a constant of the model, or build for --target cpu",
        )


def watch(library: Library, config: Any, on_step: Callable[[StepDone], None]) -> None:
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
