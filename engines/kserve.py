"""A model on a server that speaks the Open Inference Protocol over gRPC or HTTP (Triton, KServe v2), as an engine.

Every value goes over the network as raw bytes (``raw_input_contents``, the binary data extension). Over HTTP each
engine has a connection of its own. Over gRPC those of one process that ask one server share a connection, as its
library keeps them: what ends it ends the request that each of them has in flight.
"""

from __future__ import annotations

from collections.abc import Sequence
from http.client import HTTPException
from typing import Any, Literal, TypeAlias

import numpy as np

from engines.datatypes import DATATYPES, UNLIMITED
from engines.engine import Array, EngineBase, Feed, TensorSpec
from engines.errors import EngineError
from engines.feeds.feed_check import FeedCheck
from graphs.errors import BadInput
from graphs.optional_packages import optional

SCHEME, HTTP_SCHEME = "grpc://", "http://"
FORM = "HOST:PORT/MODEL or HOST:PORT/MODEL/VERSION"
TIMEOUT_SECONDS = 20.0
"""For one request, over a network. Chosen."""
_LAST_PORT = 65535  # of TCP
Protocol: TypeAlias = Literal["grpc", "http"]
_DTYPES = {name: dtype for name, dtype in DATATYPES.items() if dtype != "bfloat16"}
"""What tritonclient takes as it is: it makes bfloat16 of float32 by itself."""


class KserveEngine(EngineBase):
    """``infer`` is one request. Raises ``BadInput`` where the server or model cannot be reached, ``EngineError`` with
    the server's own words where a request fails or takes over ``timeout`` seconds.

    Over HTTP an engine is used by the thread that made it: its library switches between coroutines of one thread.

    Text is taken with ``text`` only, as arrays of ``bytes``: no engine of ours has any, functions around one may.
    """

    def __init__(
        self,
        address: str,
        model: str,
        version: str = "",
        *,
        timeout: float = TIMEOUT_SECONDS,
        protocol: Protocol = "grpc",
        text: bool = False,
    ) -> None:
        self._dtypes = {**_DTYPES, **({"BYTES": "object"} if text else {})}
        self._timeout = timeout
        self._library = client_library(protocol)
        self._model, self._version, self._protocol = model, version, protocol
        self._where = f"{protocol}://{address}/{model}"
        if protocol == "grpc":
            options = self._library.KeepAliveOptions()
            self._client: Any = self._library.InferenceServerClient(address, keepalive_options=options)
            self._limit = {"client_timeout": timeout}
        else:
            self._client = self._library.InferenceServerClient(
                address, connection_timeout=timeout, network_timeout=timeout
            )
            self._limit = {}
        inputs, outputs = self._metadata()
        self._inputs = tuple(self._spec(*tensor) for tensor in inputs)
        self._outputs = tuple(self._spec(*tensor) for tensor in outputs)
        self._check = FeedCheck(self._inputs, self._where)
        self._types = {name: datatype for name, datatype, _ in inputs}
        self._wanted = [self._library.InferRequestedOutput(spec.name) for spec in self._outputs]

    @staticmethod
    def open(source: str) -> KserveEngine:
        """From ``grpc://HOST:PORT/MODEL[/VERSION]``, or ``http://``. Raises ``BadInput``."""
        protocol: Protocol = "http" if source.startswith(HTTP_SCHEME) else "grpc"
        address, _, rest = source.removeprefix(HTTP_SCHEME if protocol == "http" else SCHEME).partition("/")
        model, _, version = rest.partition("/")
        host, _, port = address.rpartition(":")
        if not host or not model or not port.isdecimal() or int(port) > _LAST_PORT:
            raise BadInput("names no model on a server", where=source, expected=FORM)
        return KserveEngine(address, model, version, protocol=protocol)

    def infer(self, feed: Feed) -> dict[str, Array]:
        """Send one request and wait for the answer."""
        if self._client is None:
            raise EngineError("the engine is closed", where=self._where)
        self._check(feed)
        inputs = [self._input(name, array) for name, array in feed.items()]
        try:
            answer = self._client.infer(
                self._model, inputs, model_version=self._version, outputs=self._wanted, **self._limit
            )
            return {spec.name: self._output(answer, spec.name) for spec in self._outputs}
        except (self._library.InferenceServerException, OSError, HTTPException) as error:
            late = isinstance(error, TimeoutError) or _is(error, "DEADLINE_EXCEEDED")
            words = f"no answer within {self._timeout:g} s" if late else _words(error)
            raise EngineError(words, where=self._where) from error

    def _input(self, name: str, array: Array) -> Any:
        tensor = self._library.InferInput(name, list(array.shape), self._types[name])
        return tensor.set_data_from_numpy(np.asarray(array, order="C"))

    def _output(self, answer: Any, name: str) -> Array:
        array: Array | None = answer.as_numpy(name)
        if array is None:
            raise EngineError(f"the answer lacks {name!r}", where=self._where)
        return array

    def _metadata(self) -> tuple[list[_Tensor], list[_Tensor]]:
        try:
            found = self._client.get_model_metadata(self._model, self._version, **self._limit)
            if self._protocol == "http":
                return [_from_json(t) for t in found["inputs"]], [_from_json(t) for t in found["outputs"]]
            return [_from_message(t) for t in found.inputs], [_from_message(t) for t in found.outputs]
        except (self._library.InferenceServerException, OSError) as error:
            self.close()
            fix = "start the server, or correct the address" if _unreachable(error) else "check the model's name"
            raise BadInput(_words(error), where=self._where, expected=FORM, fix=fix) from error
        except (ValueError, LookupError, TypeError, HTTPException) as error:  # a page, other JSON, a port for gRPC
            self.close()
            what = "answers, but describes no model: not a server of the Open Inference Protocol"
            raise BadInput(what, where=self._where, expected=FORM, fix="correct the address") from error

    def _spec(self, name: str, datatype: str, axes: Sequence[int]) -> TensorSpec:
        if datatype not in self._dtypes:
            raise BadInput(f"{name!r} has type {datatype}", where=self._where, expected="numbers")
        shape = [size if size != UNLIMITED else ("?" if axis else "batch") for axis, size in enumerate(axes)]
        return TensorSpec(name, self._dtypes[datatype], tuple(shape))

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


_Tensor: TypeAlias = "tuple[str, str, list[int]]"


def _from_json(tensor: Any) -> _Tensor:
    return tensor["name"], tensor["datatype"], [int(size) for size in tensor["shape"]]


def _from_message(tensor: Any) -> _Tensor:
    return tensor.name, tensor.datatype, [int(size) for size in tensor.shape]


def client_library(protocol: Protocol) -> Any:
    """``tritonclient.grpc`` or ``tritonclient.http``. Raises ``BadInput`` where it is not installed."""
    return optional(f"tritonclient.{protocol}", "serve", "asking a model server")


def _unreachable(error: Any) -> bool:
    return isinstance(error, OSError) or _is(error, "UNAVAILABLE", "DEADLINE_EXCEEDED")


def _is(error: Any, *codes: str) -> bool:
    """Whether gRPC ended the call with one of these codes."""
    status = getattr(error, "status", None)
    return status is not None and str(status()).removeprefix("StatusCode.") in codes


def _words(error: Any) -> str:
    if isinstance(error, (OSError, HTTPException)):
        return str(error) or type(error).__name__
    return str(error.message() or error).strip().partition("\n")[0]
