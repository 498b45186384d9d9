"""One TensorRT execution context: shapes and addresses set only when they change, and its creation per library."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from engines.cuda.runtime import DeviceMemory, Stream
from engines.errors import EngineError
from engines.profile import Shape
from engines.tensorrt.differences import activation_bytes, give_activations, new_context
from engines.tensorrt.library import Library, errors_heard
from engines.tensorrt.runtime.layer_times import LayerTimes, profiling
from engines.tensorrt.runtime.layout import IoLayout
from graphs.files import write_atomically

_log = logging.getLogger(__name__)


class ExecutionContext:
    """An ``IExecutionContext`` that remembers what it was told, and says why TensorRT refused a thing.

    TensorRT forbids two executions of one context in flight, so a context belongs to one slot. ``first_profile`` is
    the engine's number of the context's own profile 0; None where contexts share profiles.
    """

    def __init__(self, context: Any, where: str, first_profile: int | None = None) -> None:
        self._context, self._where = context, where
        self._first = first_profile or 0
        # A new context starts with profile 0 of the engine; where none is shared, only the very first one does.
        self._profile = 0 if first_profile is None else -1
        self._shapes: dict[str, Shape] = {}
        self._addresses: dict[str, int] = {}
        self._output_shapes: dict[str, Shape] = {}  # empty: to be asked again

    def use_profile(self, profile: int, stream: Stream) -> None:
        if profile == self._profile:
            return
        with errors_heard() as errors:
            accepted = self._context.set_optimization_profile_async(self._first + profile, stream.handle)
        if not accepted:
            raise self._refused(f"optimization profile {profile} was refused", "", errors)
        stream.synchronise()  # the switch may copy; TensorRT leaves the ordering to the caller
        self._profile = profile
        self._shapes.clear()  # a profile switch forgets the input shapes
        self._output_shapes.clear()

    def set_shapes(self, shapes: Mapping[str, Shape]) -> None:
        for name, shape in shapes.items():
            if self._shapes.get(name) == shape:
                continue
            with errors_heard() as errors:
                accepted = self._context.set_input_shape(name, shape)
            if not accepted:
                raise self._refused(f"shape {shape} was refused", f", input {name!r}", errors)
            self._shapes[name] = shape
            self._output_shapes.clear()

    def set_addresses(self, addresses: Mapping[str, int]) -> None:
        for name, address in addresses.items():
            if self._addresses.get(name) == address:
                continue
            with errors_heard() as errors:
                accepted = self._context.set_tensor_address(name, address)
            if not accepted:
                raise self._refused("its address was refused", f", tensor {name!r}", errors)
            self._addresses[name] = address

    def values_changed(self) -> None:
        """Shape tensors have new values: output shapes must be asked again."""
        self._output_shapes.clear()

    def output_shapes(self, names: Iterable[str]) -> dict[str, Shape]:
        """The shapes of the outputs for the shapes now set; asked of TensorRT only when something changed."""
        if not self._output_shapes:
            missing = self._context.infer_shapes()
            if missing:
                raise EngineError(f"TensorRT lacks the shape or values of {', '.join(missing)}", where=self._where)
            self._output_shapes = {name: self._output_shape(name) for name in names}
        return dict(self._output_shapes)

    def _output_shape(self, name: str) -> Shape:
        shape = tuple(int(extent) for extent in self._context.get_tensor_shape(name))
        if any(extent < 0 for extent in shape):
            raise EngineError(
                f"output {name!r} has a shape that depends on the data",
                where=self._where,
                expected="output shapes that follow from the input shapes",
            )
        return shape

    def output_bytes(self, name: str) -> int:
        """The most bytes an output takes for the profile and shapes now set."""
        nbytes = int(self._context.get_max_output_size(name))
        if nbytes < 0:
            raise EngineError(f"TensorRT knows no upper bound of the size of output {name!r}", where=self._where)
        return nbytes

    def enqueue(self, stream: Stream) -> None:
        with errors_heard() as errors:
            accepted = self._context.execute_async_v3(stream.handle)
        if not accepted:
            raise self._refused("TensorRT did not start the run", "", errors)

    def profiled(self, library: Library) -> AbstractContextManager[LayerTimes]:
        """Have every run report its layers, from now on."""
        return profiling(library, self._context)

    def _refused(self, what: str, where: str, errors: list[str]) -> EngineError:
        return EngineError(": ".join([what, *dict.fromkeys(errors)]), where=self._where + where)


class ContextFactory:
    """Creates the contexts of one engine.

    ``own_graphs`` says that the caller captures CUDA graphs: then activation memory is the caller's, shared by the
    contexts of a slot, because a context must not change after capture and so every captured shape needs its own
    (TensorRT documentation, "CUDA Graphs"). TensorRT-RTX captures by itself, and keeps the kernels it compiled in
    ``runtime_cache`` so that the next start does not compile them again. Before TensorRT 8.6 each context of a
    dynamic plan needs profiles of its own: there are as many contexts as the plan has copies of them, and none to
    spare for captured shapes, so that such a plan runs without graphs.
    """

    def __init__(
        self,
        library: Library,
        engine: Any,
        layout: IoLayout,
        where: str,
        *,
        graphs: bool,
        runtime_cache: Path | None,
    ) -> None:
        self._library, self._engine, self._where = library, engine, where
        self._own_profiles = layout.dynamic and not library.capabilities.shared_profiles
        self._profiles, self._copies = len(layout.profiles), layout.copies
        self._made = 0
        self._rtx_graphs = graphs and library.capabilities.cuda_graph_strategy
        self.own_graphs = graphs and not self._rtx_graphs and not self._own_profiles
        self._cache_file = runtime_cache
        self._cache: Any = None
        self._cached = b""
        self._config: Any = self._rtx_config() if library.capabilities.runtime_cache else None

    @property
    def most(self) -> int | None:
        """How many contexts there can be at once; None for any number."""
        return self._copies if self._own_profiles else None

    @property
    def activation_bytes(self) -> int:
        """Device memory a caller-managed context needs; the most over all profiles."""
        return activation_bytes(self._library, self._engine)

    def create(self, activations: DeviceMemory | None) -> ExecutionContext:
        """A new context; with ``activations`` it works in that memory and allocates none. Each that is made stays."""
        context = self._new(activations is not None)
        if context is None:
            raise EngineError(
                "no execution context could be created (out of GPU memory is the usual cause)",
                where=self._where,
                fix="use fewer slots or a smaller maximum shape",
            )
        if activations is not None:
            give_activations(self._library, context, activations.address, activations.nbytes)
        first = self._made * self._profiles if self._own_profiles else None
        self._made += 1
        return ExecutionContext(context, self._where, first)

    def _new(self, caller_memory: bool) -> Any:
        if self._library.capabilities.runtime_cache and self._config is not None:
            return self._engine.create_execution_context(self._config)
        return new_context(self._library, self._engine, caller_memory=caller_memory)

    def _rtx_config(self) -> Any:
        assert self._library.capabilities.runtime_cache
        trt, config = self._library.module, self._engine.create_runtime_config()
        # EAGER: specialised kernels from the first run on. LAZY would answer with slow fallback kernels at first.
        config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        if self._rtx_graphs and self._library.capabilities.cuda_graph_strategy:
            config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self._cache = config.create_runtime_cache()
        self._load_cache()
        config.set_runtime_cache(self._cache)
        return config

    def _load_cache(self) -> None:
        assert self._library.capabilities.runtime_cache
        if self._cache_file is None or not self._cache_file.is_file():
            return
        self._cached = self._cache_file.read_bytes()
        if not self._cache.deserialize(self._cached):
            _log.warning("%s is of another GPU, driver or version; kernels are compiled again", self._cache_file)

    def save_cache(self) -> None:
        """Write the compiled kernels next to the plan. A folder that cannot be written costs time, not the run."""
        if not self._library.capabilities.runtime_cache or self._cache is None or self._cache_file is None:
            return
        content = bytes(self._cache.serialize())
        if content == self._cached:
            return
        try:
            write_atomically(self._cache_file, content)
        except OSError as error:
            _log.warning("the runtime cache was not saved: %s", error)
        self._cached = content
