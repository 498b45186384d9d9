"""The forms of a GPU's engine, timed in a process of their own: ``benchmarks.timing.child REQUEST.json RESULT.json``.

The forms are timed in turns, all open at once. Where that process dies (memory for one is not memory for three, and a
library may crash), each is timed in a process of its own: what one does then costs the others nothing.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.energy.counters import counter_for
from benchmarks.energy.measure import Energy, measure_energy
from benchmarks.in_flight import DeviceLatency, TellsLayers, device_latency
from benchmarks.measurement import Latency, Throughput
from benchmarks.samples.files import read_npz, write_npz
from benchmarks.timing.forms import time_forms
from benchmarks.timing.steady import Steadiness, SteadyRun, measure_steady
from engines.engine import Engine, EngineBase, Feed
from engines.errors import EngineError
from engines.open import open_engine
from engines.processes.child_process import run_child
from engines.profile import ShapeProfile
from engines.tensorrt.runtime.engine import GpuSettings
from graphs.errors import EnginewrightError, in_a_line
from graphs.files import read_json, read_record, write_json, write_record

SLOTS = 2
"""Batches in flight: while one is computed, the next is copied in and the last one out. Chosen."""
LIMIT_S = 600.0
"""Seconds after which the child is taken to hang; timing three engines takes some ten. Chosen."""
_MODULE = "benchmarks.timing.child"


@dataclass(frozen=True)
class TimingRequest:
    """``engines`` are engine folders by form, the most precise first; ``sample`` an ``.npz`` with one; ``gpu`` its
    index for NVML; ``seconds`` each is timed for latency and for throughput. Without a ``profile``, which says what
    batches it takes, only latency is timed.
    """

    engines: dict[str, str]
    sample: str
    profile: ShapeProfile | None
    gpu: int | None
    seconds: float


@dataclass(frozen=True)
class FormTimes:
    """What was measured, by form; ``batch`` of the throughputs. ``steadiness`` is None where forms were not timed in
    turns, ``failed`` says of a form why it has no figures. ``layers`` are milliseconds by layer name where the library
    has a profiler, ``notes`` say what could not be measured.
    """

    batch: int = 1
    latency: dict[str, Latency] = field(default_factory=dict)
    throughput: dict[str, Throughput] = field(default_factory=dict)
    steadiness: Steadiness | None = None
    device: dict[str, DeviceLatency] = field(default_factory=dict)
    device_batch: dict[str, DeviceLatency] = field(default_factory=dict)
    energy: dict[str, Energy] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    layers: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def time_in_child(
    engines: Mapping[str, Path], feed: Feed, profile: ShapeProfile, gpu: int | None, *, seconds: float
) -> FormTimes:
    """Time the engines in the folders ``engines``, the most precise form first, on the sample ``feed``."""
    with tempfile.TemporaryDirectory(prefix="enginewright-timing-") as folder:
        sample = Path(folder) / "sample.npz"
        write_npz(sample, feed)
        asked = {form: str(path.absolute()) for form, path in engines.items()}
        request = TimingRequest(asked, str(sample), profile, gpu, seconds)
        try:
            return _run(request, Path(folder))
        except EngineError as error:
            if len(asked) == 1:
                return FormTimes(failed=dict.fromkeys(asked, in_a_line(error)))
        return _joined(
            [_alone(replace(request, engines={form: source}), Path(folder)) for form, source in asked.items()]
        )


def steady_in_child(engines: Mapping[str, Path], feed: Feed, *, seconds: float) -> SteadyRun:
    """Latencies of the engines in the folders ``engines`` for ``feed``, in turns in one child; the first is what the
    others are compared with. Raises ``EngineError`` where they cannot be timed together.
    """
    with tempfile.TemporaryDirectory(prefix="enginewright-timing-") as folder:
        sample = Path(folder) / "sample.npz"
        write_npz(sample, feed)
        asked = {name: str(path.absolute()) for name, path in engines.items()}
        found = _run(TimingRequest(asked, str(sample), None, None, seconds), Path(folder))
    assert found.steadiness is not None
    return SteadyRun(found.latency, found.steadiness)


def _alone(request: TimingRequest, folder: Path) -> FormTimes:
    try:
        return _run(request, folder)
    except EngineError as error:
        return FormTimes(failed=dict.fromkeys(request.engines, in_a_line(error)))


def _joined(parts: Sequence[FormTimes]) -> FormTimes:
    """One table of forms that were timed one after the other."""
    whole = FormTimes(batch=max(part.batch for part in parts))
    for part in parts:
        for name in ("latency", "throughput", "device", "device_batch", "energy", "failed", "layers"):
            getattr(whole, name).update(getattr(part, name))
    return replace(whole, notes=[note for part in parts for note in part.notes])


def _run(request: TimingRequest, folder: Path) -> FormTimes:
    asked, answer = folder / "request.json", folder / "result.json"
    answer.unlink(missing_ok=True)
    write_json(asked, request)
    try:
        done = run_child(_MODULE, str(asked), str(answer), limit_s=LIMIT_S)
    except TimeoutError:
        raise EngineError(f"timing did not end within {LIMIT_S:.0f} s", where=", ".join(request.engines)) from None
    if done.code != 0 or not answer.is_file():
        raise EngineError(f"could not be timed: {done.last_words[:300]}", where=", ".join(request.engines))
    return read_record(answer, FormTimes)


def measure(request: TimingRequest) -> FormTimes:
    """In this process. Raises what the engines raise."""
    with ExitStack() as stack:
        engines: dict[str, EngineBase] = {
            form: stack.enter_context(open_engine(Path(folder), gpu=GpuSettings(slots=SLOTS)))
            for form, folder in request.engines.items()
        }
        specs = next(iter(engines.values())).inputs
        feed = read_npz(Path(request.sample), specs)
        if request.profile is None:
            run = measure_steady(engines, dict.fromkeys(engines, feed), seconds=request.seconds)
            return FormTimes(latency=run.latency, steadiness=run.steadiness)
        timed = time_forms(engines, feed, specs, request.profile, seconds=request.seconds)
        device, device_batch = _between_events(engines, feed), _between_events(engines, timed.many)
        energy = _energy(engines, timed.many, request)
    layers, notes = _profiled(request, feed)
    return FormTimes(
        timed.batch,
        timed.latency,
        timed.throughput,
        timed.steadiness,
        device,
        device_batch,
        energy,
        layers=layers,
        notes=notes,
    )


def _between_events(engines: Mapping[str, Engine], feed: Feed) -> dict[str, DeviceLatency]:
    found = {form: device_latency(engine, feed) for form, engine in engines.items()}
    return {form: times for form, times in found.items() if times is not None}


def _energy(engines: Mapping[str, Engine], feed: Feed, request: TimingRequest) -> dict[str, Energy]:
    if request.gpu is None:
        return {}
    counter, seconds = counter_for(request.gpu), 2 * request.seconds
    return {form: measure_energy(engine, feed, counter, seconds=seconds) for form, engine in engines.items()}


def _profiled(request: TimingRequest, feed: Feed) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Time per layer, by form. It is taken apart from all else: a profiled run waits after every layer."""
    layers, notes = dict[str, dict[str, float]](), list[str]()
    for form, folder in request.engines.items():
        try:
            with open_engine(Path(folder), gpu=GpuSettings(graphs=False)) as engine:
                found = engine.layer_times(feed) if isinstance(engine, TellsLayers) else {}
        except EnginewrightError as error:
            notes.append(f"no time per layer of the {form} engine: {in_a_line(error)}")
            continue
        if found:
            layers[form] = found
    return layers, notes


def main(arguments: Sequence[str]) -> int:
    try:
        found = measure(read_json(Path(arguments[0]), TimingRequest))
    except EnginewrightError as error:
        sys.stderr.write(f"{in_a_line(error)}\n")
        return 1
    write_record(Path(arguments[1]), found)
    sys.stdout.flush()
    os._exit(0)  # destructors of GPU libraries are no part of the measurement


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
