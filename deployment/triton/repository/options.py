"""What a user decides of a Triton model's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deployment.triton.repository.config import RateLimit
from deployment.triton.repository.containers import Container
from graphs.errors import BadInput

AUTO, PYTHON = "auto", "python"
BACKENDS = (AUTO, PYTHON)
"""Triton's own backend where it has one for an engine, or for each its Python backend, which runs our engine itself."""

LARGEST, _INT64 = 2**31 - 1, 2**63 - 1
"""The largest numbers of ``model_config.proto``'s fields, and of a version's folder, taken as signed for all."""


@dataclass(frozen=True)
class TritonOptions:
    """What the user decides of a model's configuration.

    ``max_batch`` None takes the engine's own. ``instances``, ``preferred`` and ``queue_delay_us`` None take what
    LoadGen's searches found, in ``bench`` (files that ``optimize bench --search --json`` printed), else one instance,
    the batch a plan is tuned for, and 0. ``queue_delay_us`` is how long a request may wait for company while an
    instance is free; 0 is Triton's own default, which joins what is waiting anyway. ``container`` is the Triton that
    will serve, None where nobody said. ``threads`` are ONNX Runtime's in the Python backend, None a share of the cores.
    """

    max_batch: int | None = None
    instances: int | None = None
    queue_delay_us: int | None = None
    cuda_graphs: bool = False
    backend: str = AUTO
    container: Container | None = None
    keep_versions: int = 1
    response_cache: bool = False
    rate_limit: RateLimit | None = None
    preferred: tuple[int, ...] | None = None
    threads: int | None = None
    version: int = 1
    bench: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise BadInput(
                f"{self.backend!r} is no backend", where="--backend", expected=f"one of {', '.join(BACKENDS)}"
            )
        for option, value, least, most in (
            ("--max-batch", self.max_batch, 0, LARGEST),
            ("--instances", self.instances, 1, LARGEST),
            ("--queue-delay", self.queue_delay_us, 0, _INT64),
            ("--keep-versions", self.keep_versions, 1, LARGEST),
            ("--model-version", self.version, 1, _INT64),
        ):
            if value is not None and not least <= value <= most:
                expected = f"{least} or more" if value < least else f"{most:,} at most, as Triton's protocol has it"
                raise BadInput(f"is {value}", where=option, expected=expected)
