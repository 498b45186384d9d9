"""The search for what serves a model best, on servers that are formulas."""

from __future__ import annotations

import pytest

from deployment.triton.repository.config import TritonModel, WarmupInput
from deployment.triton.repository.pbtxt import Symbol
from deployment.triton.tuning.search import Goal, Limits, Trial, Values, tune
from deployment.triton.tuning.tuned_config import tuned, values_of

FIRST, LIMITS = Values(1, 32, 0), Limits(4, 32, 2)


def throughput(values: Values) -> Trial:
    """Best with two instances of one thread and batches of 8; a delay costs, a third instance too."""
    rate = {1: 100.0, 2: 160.0, 4: 90.0}[values.instances] * {0: 1.0, 1: 1.2, 2: 0.9}[values.threads]
    rate *= {32: 1.0, 16: 1.1, 8: 1.2, 4: 0.8, 2: 0.5, 1: 0.3}[values.max_batch]
    return Trial(values, 16, rate - values.queue_delay_us / 100, 5.0, 1000 / rate, holds=True)


def test_the_best_is_found_and_every_trial_kept() -> None:
    found = tune(throughput, FIRST, LIMITS, Goal.THROUGHPUT, clients=16)
    assert found.chosen.values == Values(2, 8, 0, 1)
    assert found.first.values == FIRST
    assert {trial.values for trial in found.trials} >= {FIRST, found.chosen.values}
    assert "2 instances, batches up to 8, no queue delay, 1 thread each: 230 requests/s" in found.text
    assert "1 instance, batches up to 32, no queue delay had 100 requests/s" in found.text


def test_what_keeps_the_bound_goes_before_what_is_faster() -> None:
    def bounded(values: Values) -> Trial:
        trial = throughput(values)
        slow = values.instances == 1
        return Trial(values, 16, trial.requests_per_s, 5.0, 50.0 if slow else 9.0, holds=not slow)

    found = tune(bounded, FIRST, LIMITS, Goal.THROUGHPUT, clients=16, latency_bound_ms=20.0)
    assert found.chosen.values.instances == 2 and found.chosen.holds
    never = tune(
        lambda values: Trial(values, 1, 10.0, 5.0, 30.0 / values.instances), FIRST, LIMITS, Goal.THROUGHPUT,
        clients=16, latency_bound_ms=1.0,
    )  # fmt: skip
    assert never.chosen.values.instances == 4
    assert never.text.startswith("none kept within a p99 of 1 ms; nearest: 4 instances")


def test_latency_is_the_lowest_p99() -> None:
    found = tune(
        lambda values: Trial(values, 16, 100.0, 1.0, 10.0 + abs(values.max_batch - 4), holds=True), FIRST, LIMITS,
        Goal.LATENCY, clients=16,
    )  # fmt: skip
    assert found.chosen.values.max_batch == 4


def test_noise_chooses_nothing() -> None:
    found = tune(
        lambda values: Trial(values, 16, 100.0 + values.instances / 2, 1.0, 1.0, holds=True), FIRST, LIMITS,
        Goal.THROUGHPUT, clients=16,
    )  # fmt: skip
    assert found.chosen.values == FIRST
    assert found.text.startswith("kept 1 instance")


def test_time_bounds_the_search_and_failures_end_none() -> None:
    now = [0.0]

    def slow(values: Values) -> Trial:
        now[0] += 5.0
        return Trial(values, failure="out of memory") if values.instances > 1 else throughput(values)

    found = tune(slow, FIRST, LIMITS, Goal.THROUGHPUT, clients=16, seconds=30.0, clock=lambda: now[0])
    assert now[0] <= 35.0
    assert found.ended.startswith("time was up")
    assert found.chosen.values.instances == 1
    assert any(trial.failure for trial in found.trials)


def test_a_search_that_tried_one_configuration_claims_nothing_of_others() -> None:
    hurried = tune(throughput, FIRST, LIMITS, Goal.THROUGHPUT, clients=16, seconds=0.0)
    alone = tune(throughput, Values(1, 1, 0), Limits(1, 1), Goal.THROUGHPUT, clients=16)
    for found, ended in ((hurried, "time was up (--tune-seconds)"), (alone, "there is none beside it")):
        assert "no other was tried (1 configuration in 0 s, " + ended in found.text


@pytest.mark.parametrize(("backend", "parameter"), [("python", "threads"), ("onnxruntime", "intra_op_thread_count")])
def test_values_go_into_a_configuration_and_are_read_from_it(backend: str, parameter: str) -> None:
    warm = {size: (WarmupInput("x", Symbol("TYPE_FP32"), (2,)),) for size in (1, 32)}
    config = TritonModel("net", backend, (), (), 32, "model.onnx", preferred_batch_sizes=(8, 32), warmup=warm)
    assert values_of(config) == FIRST
    changed = tuned(config, Values(2, 8, 100, 1))
    assert values_of(changed) == Values(2, 8, 100, 1)
    assert changed.parameters == {parameter: "1"}
    assert (changed.preferred_batch_sizes, list(changed.warmup)) == ((8,), [1, 8])


def test_a_search_that_measured_nothing_says_why() -> None:
    found = tune(lambda values: Trial(values, failure="no memory"), FIRST, LIMITS, Goal.LATENCY, clients=16)
    assert found.chosen.values == FIRST
    assert found.text.endswith("nothing could be measured: no memory")
