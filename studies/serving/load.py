"""A closed loop of clients against a server of the Open Inference Protocol: each sends its next request when it has the
answer to the last. The clients are tritonclient's, a thread and a connection each, in this process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from engines.engine import Array

PROTOCOLS = ("http", "grpc")


@dataclass
class Load:
    """What the clients saw: seconds of each answered request, errors by their text, seconds the whole took."""

    seconds: list[float] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    took: float = 0.0

    @property
    def rate(self) -> float:
        """Answered requests per second."""
        return len(self.seconds) / self.took if self.took else 0.0

    def percentile_ms(self, percent: float) -> float:
        return float(np.percentile(self.seconds, percent)) * 1e3 if self.seconds else float("nan")


Ask = Callable[[], Any]
"""Sends one request and returns the library's answer; raises its exception."""


def client(protocol: str, address: str, model: str, feed: Mapping[str, Array]) -> tuple[Ask, Callable[[], None]]:
    """What asks ``model`` at ``HOST:PORT`` for all outputs of ``feed``, as binary tensors, and what closes it."""
    library = _library(protocol)
    connection = library.InferenceServerClient(address)
    inputs = []
    for name, array in feed.items():
        tensor = library.InferInput(name, list(array.shape), library_type(array))
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    return lambda: connection.infer(model, inputs), connection.close


def library_type(array: Array) -> str:
    from tritonclient.utils import np_to_triton_dtype

    name: str = np_to_triton_dtype(array.dtype)
    return name


def _library(protocol: str) -> Any:
    if protocol == "http":
        import tritonclient.http as library
    else:
        import tritonclient.grpc as library
    return library


def run(
    protocol: str,
    address: str,
    model: str,
    feed: Mapping[str, Array],
    *,
    clients: int,
    seconds: float,
    warm_up: float = 0.5,
) -> Load:
    """``clients`` at once for ``seconds``, after a warm-up that does not count."""
    load, lock, stop = Load(), threading.Lock(), threading.Event()
    begin = perf_counter() + warm_up

    def work() -> None:
        ask, close = client(protocol, address, model, feed)
        mine: list[float] = []
        while not stop.is_set():
            started = perf_counter()
            try:
                ask()
            except Exception as error:
                with lock:
                    words = f"{type(error).__name__}: {error}"[:200]
                    load.errors[words] = load.errors.get(words, 0) + 1
                continue
            if started >= begin:
                mine.append(perf_counter() - started)
        with lock:
            load.seconds += mine
        close()

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    stop.wait(warm_up + seconds)
    load.took = perf_counter() - begin
    stop.set()
    for thread in threads:
        thread.join()
    return load
