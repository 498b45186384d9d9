"""A bundle's engine behind Triton's Python backend: copied into a model's version folder as ``model.py``.

Triton imports it in a process of each instance: https://github.com/triton-inference-server/python_backend. The package
enginewright has to be installed for the Python that runs it.
"""

from __future__ import annotations

import os
import sys

sys.path[:0] = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
# Triton's stub starts Python isolated, which leaves the variable out.

import json  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from deployment.triton.python_backend.joined import JoinedRequests  # noqa: E402
from engines.errors import EngineError  # noqa: E402
from engines.open import open_engine  # noqa: E402

ENGINE = "engine"
"""The folder beside this file that holds ``engine.json`` and what it names."""


class TritonPythonModel:
    """One instance: opens the engine once, runs the requests that Triton hands over together as one batch."""

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        if args["model_instance_kind"] == "GPU":
            _see_only(args["model_instance_device_id"])
        folder = Path(args["model_repository"]) / args["model_version"] / ENGINE
        self._engine = open_engine(folder, threads=_threads(config))
        names = [spec.name for spec in self._engine.inputs]
        scalars = [spec.name for spec in self._engine.inputs if not spec.shape]
        batches = int(config["max_batch_size"]) > 0
        self._requests = JoinedRequests(self._engine.infer, names, batches, EngineError, scalars)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response per request, in order."""
        return self._requests.answer(requests)

    def finalize(self) -> None:
        self._engine.close()


def _threads(config: dict[str, Any]) -> int | None:
    """Threads of ONNX Runtime: as the configuration says; else a share of the cores, None (all) for one instance."""
    given = config.get("parameters", {}).get("threads", {}).get("string_value")
    instances = sum(int(group["count"]) for group in config["instance_group"])
    if given:
        return int(given)
    return max(1, len(os.sched_getaffinity(0)) // instances) if instances > 1 else None


def _see_only(device: str) -> None:
    """Have this process use one GPU, the instance's; of those it was left, where not all were."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    os.environ["CUDA_VISIBLE_DEVICES"] = seen.split(",")[int(device)] if seen else device
