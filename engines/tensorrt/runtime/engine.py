"""A TensorRT or TensorRT-RTX plan running on a GPU, behind the ``Engine`` protocol, with several batches in
flight."""

from __future__ import annotations

import logging
import queue
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engines.cuda.device_array import DeviceArray, array_dtype
from engines.cuda.open import open_runtime
from engines.cuda.runtime import CudaRuntime
from engines.engine import Array, EngineBase, Feed
from engines.errors import EngineError
from engines.feeds.feed_check import FeedCheck
from engines.pieces import Pieces
from engines.profile import ShapeProfile
from engines.targets.target import LibraryName
from engines.tensorrt.io_names import own_name
from engines.tensorrt.library import Library, load_library
from engines.tensorrt.runtime.bound_types import bound, declared
from engines.tensorrt.runtime.context import ContextFactory
from engines.tensorrt.runtime.layer_times import RUNS
from engines.tensorrt.runtime.layout import IoLayout, choose_profile, read_layout
from engines.tensorrt.runtime.plan import deserialize, stream_weights
from engines.tensorrt.runtime.slot import DeviceTimes, Slot

_log = logging.getLogger(__name__)
RUNTIME_CACHE_SUFFIX = ".runtime-cache"


@dataclass(frozen=True)
class GpuSettings:
    """How a plan runs.

    ``slots`` batches may be in flight, or as many as a plan of TensorRT 8.5 has copies of its profiles for;
    ``graphs`` replays captured CUDA graphs (off where the CUDA runtime has none); ``runtime_cache`` keeps
    TensorRT-RTX's compiled kernels in ``PLAN.runtime-cache``; ``host_code`` lets a version-compatible plan load the
    lean runtime it carries, which is code from the plan: only for plans you trust; ``weights_mb`` bounds the weights
    kept on the GPU, MiB, the rest is streamed (plans built with weight_streaming).
    """

    slots: int = 1
    graphs: bool = True
    runtime_cache: bool = True
    host_code: bool = False
    weights_mb: int | None = None


@dataclass
class Flight:
    """A batch under way, from ``submit`` to ``collect``. ``times`` is there after ``collect``."""

    slot: Slot = field(repr=False)
    times: DeviceTimes | None = None


class TensorRtEngine(EngineBase):
    """A plan on one GPU. ``infer`` runs one feed; ``submit`` and ``collect`` keep several in flight.

    Feeds are numpy arrays, or arrays on the device (``__cuda_array_interface__``, DLPack), which are read where they
    are. All methods may be called from any thread.
    """

    def __init__(
        self,
        engine: Any,
        library: Library,
        runtime: CudaRuntime,
        settings: GpuSettings,
        plan: Path,
        *,
        owner: Any = None,
        owns_runtime: bool = False,
    ) -> None:
        self._runtime, self._plan, self._owner, self._owns_runtime = runtime, plan, owner, owns_runtime
        self._library = library
        self._layout: IoLayout = read_layout(library.module, engine, str(plan))
        outputs = {spec.name for spec in self._layout.outputs}
        self._bindings = {own_name(spec.name, outputs): spec.name for spec in self._layout.inputs}
        self._inputs = tuple(replace(spec, name=own_name(spec.name, outputs)) for spec in self._layout.inputs)
        self._outputs = self._layout.outputs
        self._check = FeedCheck(self._inputs, str(plan), dtype_of=array_dtype)
        self._contexts = ContextFactory(
            library,
            engine,
            self._layout,
            str(plan),
            graphs=settings.graphs and (runtime.supports_graphs or library.capabilities.cuda_graph_strategy),
            runtime_cache=plan.with_name(plan.name + RUNTIME_CACHE_SUFFIX) if settings.runtime_cache else None,
        )
        self._pieces = Pieces()
        self._slots: list[Slot] = []
        self._free: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        try:
            for _ in range(_slots(settings.slots, self._contexts.most, plan)):
                self._slots.append(Slot(runtime, self._layout, self._contexts, self._pieces))
        except BaseException:
            self._release()
            raise
        for slot in self._slots:
            self._free.put(slot)

    @property
    def profiles(self) -> tuple[ShapeProfile, ...]:
        return self._layout.profiles

    @property
    def slots(self) -> int:
        return len(self._slots)

    def infer(self, feed: Feed) -> dict[str, Array]:
        return self.collect(self.submit(feed))

    def submit(self, feed: Mapping[str, Any], *, timeout_s: float = 60.0) -> Flight:
        """Start a feed and return while it runs. Waits for a free slot; ``EngineError`` after ``timeout_s``."""
        return self._start(feed, timeout_s, copy_out=True)

    def collect(self, flight: Flight) -> dict[str, Array]:
        """Wait for a flight and return its outputs; its slot is then free. A flight is collected once."""
        self._runtime.activate()
        self._require_flying(flight)
        try:
            flight.times = flight.slot.wait()
            return declared(flight.slot.outputs(), self._outputs)
        finally:
            self._free.put(flight.slot)

    @contextmanager
    def infer_on_device(self, feed: Mapping[str, Any], *, timeout_s: float = 60.0) -> Iterator[dict[str, DeviceArray]]:
        """Run a feed and lend its outputs on the device, with no copy to the host; they are valid inside ``with``."""
        flight = self._start(feed, timeout_s, copy_out=False)
        try:
            flight.times = flight.slot.wait()
            yield flight.slot.device_outputs()
        finally:
            self._free.put(flight.slot)

    def layer_times(self, feed: Feed) -> dict[str, float]:
        """Milliseconds by layer of one inference, medians over some runs. For an engine opened without CUDA graphs,
        whose runs are not reported, and of no use after.
        """
        with self._slots[0].profiled(self._library) as times:
            for _ in range(RUNS):
                self.infer(feed)
        return times.medians()

    def _start(self, feed: Mapping[str, Any], timeout_s: float, *, copy_out: bool) -> Flight:
        feed = bound(feed, self._inputs)
        self._check(feed)
        feed = {self._bindings[name]: value for name, value in feed.items()}
        shapes = {name: tuple(int(extent) for extent in value.shape) for name, value in feed.items()}
        profile = choose_profile(self._layout, shapes)
        self._runtime.activate()
        slot = self._take_slot(timeout_s)
        try:
            slot.start(feed, profile, shapes, copy_out=copy_out)
        except BaseException:
            try:
                slot.abandon()
            finally:
                self._free.put(slot)
            raise
        return Flight(slot)

    def _take_slot(self, timeout_s: float) -> Slot:
        if not self._slots:
            raise EngineError("the engine is closed", where=str(self._plan))
        try:
            return self._free.get(timeout=timeout_s)
        except queue.Empty:
            raise EngineError(
                f"all {len(self._slots)} slots were in flight for {timeout_s} s",
                where=str(self._plan),
                fix="collect a flight before the next submit, or open the engine with more slots",
            ) from None

    def _require_flying(self, flight: Flight) -> None:
        if flight.times is not None:
            raise EngineError("this flight was collected before", where=str(self._plan))
        if not any(flight.slot is slot for slot in self._slots):
            raise EngineError("this flight belongs to another or a closed engine", where=str(self._plan))

    def close(self) -> None:
        """Wait for the GPU and free everything. Safe to call twice."""
        if self._slots:
            self._runtime.activate()
            self._runtime.synchronise()
            self._contexts.save_cache()
        self._release()
        self._owner = None
        if self._owns_runtime:
            self._owns_runtime = False
            self._runtime.close()

    def _release(self) -> None:
        for slot in self._slots:
            slot.close()
        self._slots.clear()
        self._pieces.close()


def _slots(asked: int, most: int | None, plan: Path) -> int:
    if most is not None and asked > most:
        _log.warning("%s runs %d batches at once, not %d: it has profiles for no more", plan, most, asked)
    return max(1, min(asked, most or asked))


def load_plan(
    plan: Path,
    library: LibraryName | None = None,
    *,
    settings: GpuSettings | None = None,
    cuda_runtime: str | CudaRuntime | None = None,
    device: int = 0,
    plugins: Sequence[str] = (),
    version_compatible: bool = False,
) -> TensorRtEngine:
    """Deserialize ``plan`` and make it ready to run on GPU ``device``.

    ``version_compatible`` says that it was built to run under later versions, too. Raises ``EngineError`` with what
    is missing (driver, GPU, package) or why TensorRT refused the plan, and ``BuildError(MISSING_LIBRARY)`` where
    neither TensorRT nor TensorRT-RTX is installed.
    """
    chosen = settings or GpuSettings()
    trt = load_library(library)
    owns = cuda_runtime is None or isinstance(cuda_runtime, str)
    runtime = (
        open_runtime(cuda_runtime, device) if cuda_runtime is None or isinstance(cuda_runtime, str) else cuda_runtime
    )
    owner, engine = deserialize(
        trt, plan, host_code=chosen.host_code, plugins=plugins, version_compatible=version_compatible
    )
    stream_weights(trt, engine, chosen.weights_mb, plan)
    return TensorRtEngine(engine, trt, runtime, chosen, plan, owner=owner, owns_runtime=owns)
