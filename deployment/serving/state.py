"""What both protocols' services share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from deployment.serving.figures import Metrics
from deployment.serving.limits import Gate
from deployment.serving.refusals import Refusal
from deployment.serving.repository import Repository


@dataclass(frozen=True)
class State:
    """``version`` is this program's. ``reader`` is the one thread that large JSON bodies are read in, one at a time:
    as Python's numbers they take some ten times their size."""

    gate: Gate
    repository: Repository
    metrics: Metrics
    version: str
    reader: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="json"))

    @property
    def ready(self) -> bool:
        return self.repository.ready and not self.gate.draining

    def model_ready(self, name: str, version: str) -> bool:
        """Whether a version of a model answers now, the current one where none is named."""
        try:
            self.repository.get(name, version)
        except Refusal:
            return False
        return not self.gate.draining
