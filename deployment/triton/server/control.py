"""Asking a Triton about its models, and having it load one anew: the model repository extension of the protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from engines.errors import EngineError
from engines.kserve import client_library
from graphs.errors import BadInput

_SECONDS = 5.0
"""For an answer about state. Chosen."""
LOAD_SECONDS = 300.0
"""For a model to load: TensorRT may build an engine then. Chosen."""


class ServerControl:
    """The server at ``grpc``, ``http`` and ``metrics``, each ``HOST:PORT``; empty where only gRPC was told."""

    def __init__(self, grpc: str, http: str = "", metrics: str = "") -> None:
        self.grpc, self.http, self.metrics = grpc, http, metrics
        self._library = client_library("grpc")
        self._client: Any = self._library.InferenceServerClient(grpc)

    def close(self) -> None:
        self._client.close()

    def ready(self) -> bool:
        """Whether it answers that it is ready."""
        try:
            return bool(self._client.is_server_ready(client_timeout=_SECONDS))
        except self._library.InferenceServerException:
            return False

    def version(self) -> str:
        """The server's own version, as ``"2.51.0"``. Raises ``BadInput`` where nothing answers."""
        try:
            return str(self._client.get_server_metadata(client_timeout=_SECONDS).version)
        except self._library.InferenceServerException as error:
            raise BadInput(
                f"no server answers: {_words(error)}", where=self.grpc, fix="start it, or correct the address"
            ) from error

    def check_loaded(self, model: str) -> None:
        """Raise ``EngineError`` with the server's own reason unless ``model`` is loaded."""
        index = self._client.get_model_repository_index(client_timeout=_SECONDS).models
        states = [entry for entry in index if entry.name == model]
        if any(entry.state == "READY" for entry in states):
            return
        reasons = [entry.reason for entry in states if entry.reason]
        what = "; ".join(reasons) or ("is not loaded" if states else "is not in the server's repository")
        raise EngineError(" ".join(what.split()), where=f"model {model!r}")

    def load(self, model: str, config: Mapping[str, Any] | None = None) -> None:
        """Load ``model``, with ``config`` (a ``ModelConfig`` as JSON has it) in place of its file.

        Raises ``EngineError`` with the server's own words.
        """
        try:
            text = json.dumps(config) if config is not None else None
            self._client.load_model(model, config=text, client_timeout=LOAD_SECONDS)
        except self._library.InferenceServerException as error:
            raise EngineError(_words(error), where=f"model {model!r}") from error

    def executions(self, model: str) -> dict[int, int]:
        """How many times the model ran with how many samples at once, since it was loaded."""
        found = self._client.get_inference_statistics(model, client_timeout=_SECONDS).model_stats
        sizes: dict[int, int] = {}
        for entry in found:
            for batch in entry.batch_stats:
                sizes[int(batch.batch_size)] = sizes.get(int(batch.batch_size), 0) + int(batch.compute_infer.count)
        return sizes


def _words(error: Any) -> str:
    return " ".join(str(error.message() or error).split())
