"""A user's function behind Triton's Python backend: copied into a model's version folder as ``model.py``, beside the
user's file.

The package enginewright has to be installed for the Python that runs it.
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
from deployment.triton.python_backend.tensors import check_text  # noqa: E402
from engines.user_code import load_callable  # noqa: E402


class TritonPythonModel:
    """One instance of ``parameters.function`` of ``parameters.file``; ``parameters.scalars`` are the inputs without
    dimensions, as JSON."""

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        check_text(config)
        file, function, scalars = (config["parameters"][key]["string_value"] for key in ("file", "function", "scalars"))
        folder = Path(args["model_repository"]) / args["model_version"]
        run = load_callable(f"{folder / file}:{function}")
        names = [tensor["name"] for tensor in config["input"]]
        batches = int(config["max_batch_size"]) > 0
        self._requests = JoinedRequests(run, names, batches, Exception, json.loads(scalars))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response per request, in order."""
        return self._requests.answer(requests)
