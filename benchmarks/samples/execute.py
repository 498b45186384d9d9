"""Running samples through an engine inside LoadGen: every failure is recorded, none escapes."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.samples.library import SampleLibrary
from engines.engine import Array, Engine, TensorSpec

RAISED = "samples the engine raised on"
LATE = "samples not served within the time limit"


@dataclass
class Failures:
    """Samples that did not get a right answer: how many per kind, and the first message of each.

    The samples of a batch share its fate.
    """

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, samples: int, message: str) -> None:
        with self.lock:
            self.counts[kind] += samples
            self.first.setdefault(kind, message)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def sentences(self) -> list[str]:
        return [f"{count} {kind}: {self.first[kind]}" for kind, count in self.counts.items()]


@dataclass
class Activity:
    """Counters a watchdog reads: a call is under way while ``started`` exceeds ``finished``."""

    stage: str = "load"
    started: int = 0
    finished: int = 0
    completed: int = 0


def output_problem(outputs: dict[str, Array], specs: Sequence[TensorSpec], batch: int | None) -> tuple[str, str] | None:
    """(kind, message) of what is wrong with an engine's answer: missing, wrong shape, NaN; None when nothing is.

    ``batch`` is the expected length of a dynamic axis 0, None where it is not known.
    """
    for spec in specs:
        array = outputs.get(spec.name)
        if array is None:
            return "samples without an output", f"the engine returned no {spec.name!r}"
        if not _shape_fits(array.shape, spec, batch):
            expected = "x".join(map(str, spec.shape))
            return (
                "samples with an output of wrong shape",
                f"{spec.name!r} is {'x'.join(map(str, array.shape))}, expected {expected}",
            )
        if array.dtype.kind == "f" and spec.finite and not _all_finite(array):
            return "samples with NaN or infinite outputs", f"{spec.name!r} is not finite"
    return None


def _shape_fits(shape: tuple[int, ...], spec: TensorSpec, batch: int | None) -> bool:
    if len(shape) != len(spec.shape):
        return False
    if batch is not None and shape and isinstance(spec.shape[0], str) and shape[0] != batch:
        return False
    return all(isinstance(want, str) or want == have for want, have in zip(spec.shape, shape, strict=True))


def _all_finite(array: Array) -> bool:
    """NaN and infinities survive summing, so a finite sum proves all finite in one cheap pass."""
    with np.errstate(all="ignore"):
        total = float(array.sum(dtype=np.float32 if array.itemsize < 4 else None))
    return math.isfinite(total) or bool(np.isfinite(array).all())


class Executor:
    """One engine and its share of the work; each worker thread owns one.

    ``splits`` tells that axis 0 of every output counts the samples, which ``learn_splitting`` finds out; ``engine_s``
    is the time spent inside the engine, so that what is left of a run's duration is the harness's.
    """

    def __init__(
        self, engine: Engine, library: SampleLibrary, failures: Failures, activity: Activity, *, checked: bool = True
    ) -> None:
        self.engine, self.library = engine, library
        self.failures, self.activity = failures, activity
        self.histogram: Counter[int] = Counter()
        self.deadline = math.inf
        self._specs = engine.outputs if checked else ()
        self.splits = False
        self.engine_s = 0.0

    def run(self, indices: Sequence[int]) -> dict[str, Array] | None:
        """Infer on loaded samples; None when that failed (recorded) or came after the deadline."""
        if time.monotonic() > self.deadline:
            self.failures.add(LATE, len(indices), "the engine is slower than the load")
            return None
        self.histogram[len(indices)] += 1
        answer = self._infer(indices)
        if isinstance(answer, dict):
            return answer
        kind, message = answer
        if kind not in self.failures.first:
            message = f"{self._culprit(indices, kind)}: {message}"
        self.failures.add(kind, len(indices), message)
        return None

    def learn_splitting(self) -> None:
        """A dynamic first output axis need not be the batch (detections after NMS are not): ask the engine."""
        others = [0, 1] if self.library.loaded > 1 and self.library.uniform else [0, 0]
        self.splits = self.library.batchable and all(self._fits(part) for part in ([0], others[1:], others))

    def _fits(self, indices: Sequence[int]) -> bool:
        """Whether axis 0 of every output is as long as the samples' rows together; no where the inference fails."""
        answer = self._infer(indices)
        if not isinstance(answer, dict):
            return False
        rows = self.library.row_count(indices)
        return all(array.ndim and array.shape[0] == rows for array in answer.values())

    def _infer(self, indices: Sequence[int]) -> dict[str, Array] | tuple[str, str]:
        """The outputs, or (kind, message) of the failure."""
        self.activity.started += 1
        try:
            feed = self.library.feed(indices)
            start = time.perf_counter()
            outputs = self.engine.infer(feed)
            self.engine_s += time.perf_counter() - start
        except Exception as error:  # whatever a backend raises must end up in the verdict, not in LoadGen's C++
            return RAISED, f"{type(error).__name__}: {error}"[:500]
        finally:
            self.activity.finished += 1
        problem = output_problem(outputs, self._specs, self.library.row_count(indices) if self.splits else None)
        return problem or outputs

    def _culprit(self, indices: Sequence[int], kind: str) -> str:
        """Which sample of a failed batch fails alone; asked once per kind of failure: the run is invalid anyway."""
        if len(indices) > 1:
            for index in indices:
                answer = self._infer([index])
                if not isinstance(answer, dict) and answer[0] == kind:
                    return f"sample {index}"
            return f"only in a batch of {len(indices)}"
        return f"sample {indices[0]}"
