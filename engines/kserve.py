"""A model on a server that speaks the Open Inference Protocol over gRPC (Triton, KServe v2), as an engine.

Every value goes over the network as raw bytes (``raw_input_contents``); one connection per engine, so that several
engines give the server several requests to batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engines.engine import Array, EngineBase, Feed, TensorSpec
from engines.errors import EngineError
from engines.feed_check import FeedCheck
from graphs.errors import BadInput

SCHEME = "grpc://"
FORM = "HOST:PORT/MODEL or HOST:PORT/MODEL/VERSION"
TIMEOUT_SECONDS = 20.0
"""For one request, over a network. Chosen."""
UNLIMITED = -1
"""How the protocol writes a dynamic axis."""
_DTYPES = {
    "BOOL": "bool",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    **{f"{sign}INT{bits}": f"{sign.lower()}int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)},
}


class KserveEngine(EngineBase):
    """``infer`` is one request. Raises ``BadInput`` where the server or model cannot be reached, ``EngineError`` with
    the server's own words where a request fails or takes over ``timeout`` seconds.
    """

    def __init__(self, address: str, model: str, version: str = "", *, timeout: float = TIMEOUT_SECONDS) -> None:
        self._grpc = _client_library()
        self._address, self._model, self._version, self._timeout = address, model, version, timeout
        self._where = f"{SCHEME}{address}/{model}"
        options = self._grpc.KeepAliveOptions()
        self._client: Any = self._grpc.InferenceServerClient(address, keepalive_options=options)
        metadata = self._metadata()
        self._inputs = tuple(self._spec(tensor) for tensor in metadata.inputs)
        self._outputs = tuple(self._spec(tensor) for tensor in metadata.outputs)
        self._check = FeedCheck(self._inputs, self._where)
        self._types = {tensor.name: tensor.datatype for tensor in metadata.inputs}
        self._wanted = [self._grpc.InferRequestedOutput(spec.name) for spec in self._outputs]

    @staticmethod
    def open(source: str) -> KserveEngine:
        """From ``grpc://HOST:PORT/MODEL[/VERSION]``. Raises ``BadInput``."""
        address, _, rest = source.removeprefix(SCHEME).partition("/")
        model, _, version = rest.partition("/")
        if not address or ":" not in address or not model:
            raise BadInput("names no model on a server", where=source, expected=FORM)
        return KserveEngine(address, model, version)

    def infer(self, feed: Feed) -> dict[str, Array]:
        """Send one request and wait for the answer."""
        if self._client is None:
            raise EngineError("the engine is closed", where=self._where)
        self._check(feed)
        try:
            answer = self._client.infer(
                self._model,
                [self._input(name, array) for name, array in feed.items()],
                model_version=self._version,
                outputs=self._wanted,
                client_timeout=self._timeout,
            )
            return {spec.name: self._output(answer, spec.name) for spec in self._outputs}
        except self._grpc.InferenceServerException as error:
            raise EngineError(_words(error), where=self._where) from error

    def _input(self, name: str, array: Array) -> Any:
        tensor = self._grpc.InferInput(name, list(array.shape), self._types[name])
        return tensor.set_data_from_numpy(np.ascontiguousarray(array))

    def _output(self, answer: Any, name: str) -> Array:
        array: Array | None = answer.as_numpy(name)
        if array is None:
            raise EngineError(f"the answer lacks {name!r}", where=self._where)
        return array

    def _metadata(self) -> Any:
        try:
            return self._client.get_model_metadata(self._model, self._version, client_timeout=self._timeout)
        except self._grpc.InferenceServerException as error:
            self.close()
            fix = "start the server, or correct the address" if _unreachable(error) else "check the model's name"
            raise BadInput(_words(error), where=self._where, expected=FORM, fix=fix) from error

    def _spec(self, tensor: Any) -> TensorSpec:
        if tensor.datatype not in _DTYPES:
            raise BadInput(f"{tensor.name!r} has type {tensor.datatype}", where=self._where, expected="numbers")
        axes = [int(size) for size in tensor.shape]
        shape = [size if size != UNLIMITED else ("?" if axis else "batch") for axis, size in enumerate(axes)]
        return TensorSpec(tensor.name, _DTYPES[tensor.datatype], tuple(shape))

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _client_library() -> Any:
    try:
        import tritonclient.grpc
    except ImportError as error:
        raise BadInput(
            "needs tritonclient, which is not installed", where="--triton", fix="pip install 'enginewright[serve]'"
        ) from error
    return tritonclient.grpc


def _unreachable(error: Any) -> bool:
    return any(word in str(error.status()) for word in ("UNAVAILABLE", "DEADLINE"))


def _words(error: Any) -> str:
    return str(error.message() or error).strip().partition("\n")[0]
