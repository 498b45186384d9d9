"""What a tritonserver must be started with for what configurations ask for."""

from __future__ import annotations

from collections.abc import Iterable

from deployment.triton.repository.config import TritonModel

CACHE_BYTES = 64 << 20
"""Of the response cache; the largest answers divide it. Chosen: the user's to set in production."""


def server_options(models: Iterable[TritonModel]) -> tuple[str, ...]:
    """The options beside ``--model-repository``: a cache where one is used, the rate limiter and its resources, and
    plans of other releases where they are built for that."""
    chosen = list(models)
    options = [f"--cache-config=local,size={CACHE_BYTES}"] if any(model.response_cache for model in chosen) else []
    resources: dict[str, int] = {}
    for model in chosen:
        for name, count in (model.rate_limit.resources if model.rate_limit else {}).items():
            resources[name] = max(resources.get(name, 0), count)
    if any(model.rate_limit for model in chosen):
        options.append("--rate-limit=execution_count")
    options += [f"--rate-limit-resource={name}:{count}" for name, count in resources.items()]
    if any(model.version_compatible for model in chosen):
        options.append("--backend-config=tensorrt,version-compatible=true")
    return tuple(options)
