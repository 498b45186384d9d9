"""One batch in flight: streams, pinned and device buffers, events, a context, and CUDA graphs per set of shapes.

Copies and compute have streams of their own, ordered by events: the copies of one slot overlap the compute of another,
and a copy never waits in a queue behind a kernel it does not need. Buffers hold the largest shape of the largest
profile, so their addresses never change and graphs stay valid.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.cuda.device_array import DeviceArray, device_array, on_device
from engines.cuda.runtime import CudaRuntime, DeviceMemory, Graph, PinnedMemory
from engines.engine import Array, numpy_dtype
from engines.errors import EngineError
from engines.pieces import Pieces
from engines.profile import Shape
from engines.tensorrt.library import Library
from engines.tensorrt.runtime.context import ContextFactory, ExecutionContext
from engines.tensorrt.runtime.layer_times import LayerTimes
from engines.tensorrt.runtime.layout import IoLayout
from engines.tensorrt.runtime.staging import stage

_log = logging.getLogger(__name__)
MAX_GRAPHS = 8
"""Captured shapes kept per slot; each holds a context. Chosen."""
ShapeKey = tuple[int, tuple[tuple[str, Shape], ...]]


@dataclass(frozen=True)
class DeviceTimes:
    """Milliseconds between CUDA events of one run: copy in (with the filling of pinned memory), compute, copy out."""

    copy_in_ms: float
    compute_ms: float
    copy_out_ms: float

    @property
    def total_ms(self) -> float:
        return self.copy_in_ms + self.compute_ms + self.copy_out_ms


@dataclass
class _Captured:
    """A context frozen at one set of shapes, and its graph; None where TensorRT could not be captured."""

    context: ExecutionContext
    graph: Graph | None
    output_shapes: dict[str, Shape]


class Slot:
    """Runs one feed at a time: ``start`` returns at once, ``wait`` until the outputs are there."""

    def __init__(self, runtime: CudaRuntime, layout: IoLayout, contexts: ContextFactory, pieces: Pieces) -> None:
        self._runtime, self._layout, self._contexts, self._pieces = runtime, layout, contexts, pieces
        self._output_names = [spec.name for spec in layout.outputs]
        self._resources: list[Any] = []  # everything with close(), in order of creation
        self._graphs: OrderedDict[ShapeKey, _Captured] = OrderedDict()
        try:
            self.stream = self._keep(runtime.stream())
            self.copies = self._keep(runtime.stream())
            self._events = [self._keep(runtime.event()) for _ in range(4)]
            self._activations: DeviceMemory | None = None
            if contexts.own_graphs:
                self._activations = self._keep(runtime.allocate(contexts.activation_bytes))
            self._plain = contexts.create(self._activations)
            self._allocate()
        except BaseException:
            self.close()
            raise
        self._output_shapes: dict[str, Shape] = {}
        self._held: list[Any] = []  # device arrays of the caller, kept alive while they are read

    def _keep(self, resource: Any) -> Any:
        self._resources.append(resource)
        return resource

    def _allocate(self) -> None:
        sizes = _largest_sizes(self._layout, self._plain, self)
        self._pinned: dict[str, PinnedMemory] = {name: self._keep(self._runtime.pin(n)) for name, n in sizes.items()}
        on_gpu = {name: n for name, n in sizes.items() if name not in self._layout.host}
        self._device: dict[str, DeviceMemory] = {
            name: self._keep(self._runtime.allocate(n)) for name, n in on_gpu.items()
        }
        self._addresses = {name: memory.address for name, memory in self._device.items()}
        self._addresses |= {name: self._pinned[name].address for name in self._layout.host}

    def start(self, feed: Mapping[str, Any], profile: int, shapes: Mapping[str, Shape], *, copy_out: bool) -> None:
        """Enqueue copies and compute for a checked ``feed``; ``copy_out`` False leaves the outputs on the device."""
        began, copied, computed, finished = self._events
        began.record(self.copies)
        addresses = self._copy_in(feed)
        copied.record(self.copies)
        self.stream.wait(copied)
        self._compute(profile, shapes, addresses)
        computed.record(self.stream)
        self.copies.wait(computed)
        if copy_out:
            self._copy_out()
        finished.record(self.copies)

    def _copy_in(self, feed: Mapping[str, Any]) -> dict[str, int]:
        """Bring the inputs to the device; returns the addresses of those the caller already had there."""
        given: dict[str, int] = {}
        for spec in self._layout.inputs:
            value = feed[spec.name]
            if on_device(value):
                given[spec.name] = self._take(value, spec.name)
                continue
            self._stage(spec.name, value)
        return given

    def _take(self, value: Any, name: str) -> int:
        where = f"input {name!r}"
        if name in self._layout.host:
            raise EngineError("this input is read by the host", where=where, fix="pass a numpy array")
        array = device_array(value, self.stream.handle, where)
        if array.stream is not None and array.stream != self.stream.handle:
            self._runtime.synchronise()  # the producer's work may still be in its own stream
        self._held.append(array)
        return array.address

    def _stage(self, name: str, value: Array) -> None:
        """Into pinned memory, and each part that is there to the device, unless the host reads it."""
        buffer = self._pinned[name].array[: value.nbytes]

        def filled(part: slice) -> None:
            if name not in self._layout.host:
                address = self._device[name].address + part.start
                self._runtime.copy_to_device(address, buffer[part], self.copies)

        stage(buffer, value, self._pieces, filled)

    def _compute(self, profile: int, shapes: Mapping[str, Shape], given: Mapping[str, int]) -> None:
        # Graphs freeze addresses, and values of shape tensors; such runs go without one.
        if not self._contexts.own_graphs or given or self._layout.host:
            self._run(self._plain, profile, shapes, {**self._addresses, **given})
            return
        key = (profile, tuple(sorted(shapes.items())))
        captured = self._graphs.get(key)
        if captured is None:
            self._capture(key, profile, shapes)
            return
        self._graphs.move_to_end(key)
        self._output_shapes = captured.output_shapes
        if captured.graph is None:
            captured.context.enqueue(self.stream)
        else:
            captured.graph.launch(self.stream)

    def _run(
        self, context: ExecutionContext, profile: int, shapes: Mapping[str, Shape], addresses: Mapping[str, int]
    ) -> None:
        context.use_profile(profile, self.stream)
        context.set_shapes(shapes)
        context.set_addresses(addresses)
        if self._layout.host:
            context.values_changed()
        self._output_shapes = context.output_shapes(self._output_names)
        context.enqueue(self.stream)

    def _capture(self, key: ShapeKey, profile: int, shapes: Mapping[str, Shape]) -> None:
        """Run once as it is (TensorRT wants that before a capture; its result is used), then capture."""
        while len(self._graphs) >= MAX_GRAPHS:
            self.stream.synchronise()
            _, oldest = self._graphs.popitem(last=False)
            if oldest.graph is not None:
                oldest.graph.close()
        context = self._contexts.create(self._activations)
        self._run(context, profile, shapes, self._addresses)
        graph: Graph | None = None
        try:
            graph = self._runtime.capture(self.stream, lambda: context.enqueue(self.stream))
        except EngineError as error:
            _log.warning("runs without a CUDA graph for %s: %s", dict(shapes), error.what)
        self._graphs[key] = _Captured(context, graph, self._output_shapes)

    def _copy_out(self) -> None:
        for spec in self._layout.outputs:
            if spec.name not in self._layout.host:
                destination = self._view(spec.name, spec.dtype).reshape(-1).view(np.uint8)
                self._runtime.copy_to_host(destination, self._device[spec.name].address, self.copies)

    def _view(self, name: str, dtype: str) -> Array:
        """The pinned buffer of an output, as an array of its present shape."""
        kind, shape = numpy_dtype(dtype), self._output_shapes[name]
        nbytes = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        view: Array = self._pinned[name].array[:nbytes].view(kind).reshape(shape)
        return view

    def wait(self) -> DeviceTimes:
        """Block until the run is over."""
        began, copied, computed, finished = self._events
        finished.synchronise()
        self._held.clear()
        return DeviceTimes(
            copied.elapsed_ms(began),
            computed.elapsed_ms(copied),
            finished.elapsed_ms(computed),
        )

    def outputs(self) -> dict[str, Array]:
        """Copies of the outputs; the slot's own buffers are used again by the next run."""
        return {spec.name: self._view(spec.name, spec.dtype).copy() for spec in self._layout.outputs}

    def device_outputs(self) -> dict[str, DeviceArray]:
        """The outputs where they lie, valid until the slot starts again."""
        return {
            spec.name: DeviceArray(
                self._addresses[spec.name],
                self._output_shapes[spec.name],
                numpy_dtype(spec.dtype),
                self,
                self.stream.handle,
            )
            for spec in self._layout.outputs
            if spec.name not in self._layout.host
        }

    def profiled(self, library: Library) -> AbstractContextManager[LayerTimes]:
        """Have the runs of this slot that replay no graph report their layers."""
        return self._plain.profiled(library)

    def abandon(self) -> None:
        """After a failed ``start``: let the work that was enqueued finish, so that the buffers are free again."""
        self.copies.synchronise()
        self.stream.synchronise()
        self._held.clear()

    def close(self) -> None:
        for captured in self._graphs.values():
            if captured.graph is not None:
                captured.graph.close()
        self._graphs.clear()
        self._plain = None  # type: ignore[assignment]  # contexts go before the memory they use
        for resource in reversed(self._resources):
            resource.close()
        self._resources.clear()


def _largest_sizes(layout: IoLayout, context: ExecutionContext, slot: Slot) -> dict[str, int]:
    """Bytes of every tensor at the largest shapes of all profiles."""
    sizes: dict[str, int] = {}
    for index in range(len(layout.profiles)):
        context.use_profile(index, slot.stream)
        shapes = layout.largest(index)
        context.set_shapes(shapes)
        for spec in layout.inputs:
            nbytes = int(np.prod(shapes[spec.name], dtype=np.int64)) * numpy_dtype(spec.dtype).itemsize
            sizes[spec.name] = max(sizes.get(spec.name, 0), nbytes)
        for spec in layout.outputs:
            sizes[spec.name] = max(sizes.get(spec.name, 0), context.output_bytes(spec.name))
    return sizes
