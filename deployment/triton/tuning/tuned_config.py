"""A model's configuration with the values that a search tries, and how the server fares with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.serving.closed_loop import LoadResult, closed_loop
from deployment.triton.protocol import config_json, parse_config
from deployment.triton.repository.config import TritonModel
from deployment.triton.repository.pbtxt import to_pbtxt
from deployment.triton.server.control import ServerControl
from deployment.triton.tuning.search import Limits, Trial, Values
from engines.engine import EngineBase, Feed
from engines.errors import EngineError
from graphs.errors import in_a_line

MOST_INSTANCES = 4
"""Copies of an engine tried on a GPU: NVIDIA's own configurations of T4 and A100 use 1 to 4. On a CPU, its cores."""
TRIAL_SECONDS = 1.5
"""Of load for one configuration at one number of clients. Chosen."""
_SEARCHED = ("max_batch_size", "instance_group.count", "max_queue_delay_microseconds")
"""What of a configuration's origins a search replaces."""
_THREADS = {"python": "threads", "onnxruntime": "intra_op_thread_count"}
"""What backends that run on a CPU call the threads of an instance: ours, and the README of onnxruntime_backend."""


def tuned(config: TritonModel, values: Values, origin: str = "") -> TritonModel:
    """``config`` with ``values``; preferred batches and warm-up requests beyond them are left out. ``origin`` says
    where the values are from."""
    largest = values.max_batch
    parameters = dict(config.parameters)
    if values.threads:
        parameters[_THREADS[config.backend]] = str(values.threads)
    told = {name: origin if name in _SEARCHED and origin else why for name, why in config.origins.items()}
    warmed = {min(batch, largest): inputs for batch, inputs in config.warmup.items()}
    return replace(
        config,
        instances=values.instances,
        max_batch_size=largest,
        queue_delay_us=values.queue_delay_us,
        preferred_batch_sizes=tuple(size for size in config.preferred_batch_sizes if size <= largest),
        warmup=warmed,
        parameters=parameters,
        origins=told,
    )


def values_of(config: TritonModel) -> Values:
    """What ``config`` says of what is searched."""
    threads = int(config.parameters.get(_THREADS.get(config.backend, ""), 0))
    return Values(config.instances, config.max_batch_size, config.queue_delay_us, threads)


def limits_of(config: TritonModel) -> Limits:
    """What is worth trying on this machine. A model that does not batch stays so."""
    cores = len(os.sched_getaffinity(0))
    on_cpu = config.kind == "KIND_CPU"
    threads = cores if on_cpu and config.backend in _THREADS else 0
    return Limits(cores if on_cpu else MOST_INSTANCES, config.max_batch_size, threads)


def measured(
    config: TritonModel,
    control: ServerControl,
    open_served: Callable[[], EngineBase],
    feeds: Sequence[Feed],
    *,
    clients: int,
    latency_bound_ms: float | None,
    seconds: float = TRIAL_SECONDS,
) -> Callable[[Values], Trial]:
    """A function that has the server load ``config`` with other values and puts ``clients`` on it, each with requests
    of one sample; half as many, and so on, where a bound on p99 is not kept."""

    def measure(values: Values) -> Trial:
        message = parse_config(to_pbtxt(tuned(config, values).message()), config.name)
        try:
            control.load(config.name, config_json(message))
        except EngineError as error:
            return Trial(values, failure=in_a_line(error))
        level, trial = clients, Trial(values)
        while True:
            load = closed_loop(open_served, feeds, clients=level, seconds=seconds)
            trial = _trial(values, load, latency_bound_ms)
            if trial.holds or trial.failure or level == 1:
                return trial
            level //= 2

    return measure


def _trial(values: Values, load: LoadResult, bound: float | None) -> Trial:
    if load.failed or load.latency_ms is None:
        return Trial(values, load.clients, failure=load.error or "no request was answered")
    p99 = load.latency_ms.p99
    return Trial(values, load.clients, load.rate, load.latency_ms.p50, p99, holds=bound is None or p99 <= bound)
