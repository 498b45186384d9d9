"""Where each value that decides a configuration's speed is from: the user, a search of LoadGen's, or what is usual."""

from __future__ import annotations

from dataclasses import replace

from deployment.served_engine import ServedEngine
from deployment.triton.repository.config import TritonModel
from deployment.triton.repository.measured import Searched
from deployment.triton.repository.options import TritonOptions

_GIVEN = "as given"
_NO_DELAY = "usual: who waits is joined while instances are busy, and nobody waits for an idle one"


def with_origins(
    config: TritonModel, engine: ServedEngine, options: TritonOptions, found: Searched | None = None
) -> TritonModel:
    """``config`` with the values that searches ``found`` of ``engine`` where the user gave none, and a word on where
    each is from."""
    searched = found or Searched()
    untold = f"not searched (optimize bench BUNDLE --target {engine.target} --search --scenario "
    origins = {
        "max_batch_size": _GIVEN if options.max_batch is not None else _batch_origin(config, engine),
        "instance_group.count": _GIVEN if options.instances else f"usual; {untold}server)",
    }
    if searched.instances and not options.instances:
        config = replace(config, instances=searched.instances.value)
        origins["instance_group.count"] = searched.instances.why
    largest = config.max_batch_size
    if largest > 1:
        origins["max_queue_delay_microseconds"] = _NO_DELAY if options.queue_delay_us is None else _GIVEN
        if searched.delay and options.queue_delay_us is None:
            config = replace(config, queue_delay_us=searched.delay.value)
            origins["max_queue_delay_microseconds"] = searched.delay.why
        sizes = config.preferred_batch_sizes
        tuned = "what the plan is tuned for, and the largest"
        origins["preferred_batch_size"] = tuned if sizes else f"none; {untold}offline)"
        if searched.batch and options.preferred is None and 1 < searched.batch.value <= largest:
            config = replace(config, preferred_batch_sizes=tuple(sorted({*sizes, searched.batch.value, largest})))
            origins["preferred_batch_size"] = f"{searched.batch.why}; and the largest"
    return replace(config, origins=origins)


def _batch_origin(config: TritonModel, engine: ServedEngine) -> str:
    if not config.max_batch_size:
        return "axis 0 does not count samples in every input and output"
    profile = engine.largest_batch is not None
    return "the largest that the engine's profile covers" if profile else "usual: the engine has no profile"
