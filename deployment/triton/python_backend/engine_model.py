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

import numpy as np  # noqa: E402
import triton_python_backend_utils as triton  # noqa: E402

from deployment.triton.python_backend.tensors import from_triton, to_triton  # noqa: E402
from engines.engine import Array, Feed  # noqa: E402
from engines.errors import EngineError  # noqa: E402
from engines.open import open_engine  # noqa: E402

ENGINE = "engine"
"""The folder beside this file that holds ``engine.json`` and what it names."""


class TritonPythonModel:
    """One instance: opens the engine once, runs the requests that Triton hands over together as one batch."""

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        self._batches = int(config["max_batch_size"]) > 0
        if args["model_instance_kind"] == "GPU":
            _see_only(args["model_instance_device_id"])
        folder = Path(args["model_repository"]) / args["model_version"] / ENGINE
        self._engine = open_engine(folder, threads=_threads(config))
        self._inputs = [spec.name for spec in self._engine.inputs]

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response per request, in order. Requests of a batch have the same shapes but for axis 0: Triton's
        dynamic batcher joins no others."""
        feeds = [self._feed(request) for request in requests]
        if self._batches and len(feeds) > 1:
            try:
                return self._joined(feeds)
            except EngineError:
                pass  # one of them is at fault: apart, the others are answered
        return [self._alone(feed) for feed in feeds]

    def finalize(self) -> None:
        self._engine.close()

    def _feed(self, request: Any) -> Feed:
        return {name: from_triton(triton.get_input_tensor_by_name(request, name)) for name in self._inputs}

    def _joined(self, feeds: Sequence[Feed]) -> list[Any]:
        outputs = self._engine.infer({name: np.concatenate([feed[name] for feed in feeds]) for name in self._inputs})
        responses, start = [], 0
        for feed in feeds:
            end = start + len(feed[self._inputs[0]])
            responses.append(_response({name: array[start:end] for name, array in outputs.items()}))
            start = end
        return responses

    def _alone(self, feed: Feed) -> Any:
        try:
            return _response(self._engine.infer(feed))
        except EngineError as error:
            return triton.InferenceResponse(error=triton.TritonError(str(error)))


def _response(outputs: dict[str, Array]) -> Any:
    return triton.InferenceResponse([to_triton(name, array) for name, array in outputs.items()])


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
