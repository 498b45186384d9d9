"""What ``optimize deploy BUNDLE triton --check`` found, in lines for a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from benchmarks.serving.closed_loop import LoadResult
from deployment.triton.server.options import server_options
from optimizer.verbs.deploy.triton.checking import Checked
from optimizer.verbs.deploy.triton.deploy import TritonDeployment
from optimizer.verbs.deploy.triton.tune import TRACE


def triton_lines(found: TritonDeployment) -> Iterator[str]:
    """The command that serves the repository, then what the check saw of each model."""
    options = server_options(model.config for model in found.models)
    yield "serve it: " + shlex.join(["tritonserver", f"--model-repository={found.repository.resolve()}", *options])
    if found.server:
        yield f"checked on tritonserver {found.server}"
    for name, tuning in found.tunings.items():
        yield f"  {name}: for {tuning.goal.value}: {tuning.text}"
        yield f"  {name}: every trial: {found.repository / name / TRACE}"
    for check in found.checks:
        yield from _model_lines(check, found)


def _model_lines(check: Checked, found: TritonDeployment) -> Iterator[str]:
    if check.skipped:
        yield f"  {check.model}: not checked: {check.skipped}"
    if check.failure:
        yield f"  {check.model}: FAIL: {check.failure}"
    if check.found is not None:
        for answers in check.found.answers:
            yield f"  {check.model}: {'' if answers.ok else 'FAIL: '}{answers.text}"
        for loads in check.found.loads:
            clients = f"{loads.served.clients} client{'s' if loads.served.clients > 1 else ''}"
            served = f"{clients} {_rate(loads.served)}{_latency(loads.served)}"
            yield (
                f"  {check.model}: requests of {loads.batch}: {served}; the engine itself {_rate(loads.direct)}: "
                f"{100 * loads.ratio:.0f} %"
            )
            if _cached(found, check.model):
                yield f"  {check.model}: this rate is the response cache's: the same request was sent again and again"
            if loads.served.failed:
                yield f"  {check.model}: FAIL: {loads.served.failed} requests failed: {loads.served.error}"
    if check.scored is not None:
        scored = check.scored
        yield (
            f"  {check.model}: {scored.metric}: {scored.served:.4f} through Triton, {scored.engine:.4f} by the engine "
            f"itself ({scored.samples:,} samples)"
        )


def _cached(found: TritonDeployment, model: str) -> bool:
    return any(each.config.response_cache and each.config.name == model for each in found.models)


def _rate(load: LoadResult) -> str:
    return f"{load.rate:,.0f}/s" if load.samples == 1 else f"{load.rate:,.0f}/s ({load.sample_rate:,.0f} samples/s)"


def _latency(load: LoadResult) -> str:
    return f", p50 {load.latency_ms.p50:.2f} ms, p99 {load.latency_ms.p99:.2f} ms" if load.latency_ms else ""
