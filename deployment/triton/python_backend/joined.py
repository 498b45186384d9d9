"""A function of arrays behind Triton's Python backend: requests that Triton hands over together run as one batch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

from deployment.triton.python_backend.tensors import from_triton, to_triton
from engines.engine import Array, Feed

Run = Callable[[Feed], dict[str, Array]]


class JoinedRequests:
    """Runs ``run`` on inputs ``names``; ``batches`` says whether axis 0 counts samples in all of them. What ``errors``
    are raised becomes the answer to the request at fault.

    ``scalars`` are inputs without dimensions, which come as ``[1]`` where the model does not batch: Triton has no
    tensor without one. Outputs without go the same way.
    """

    def __init__(
        self, run: Run, names: Sequence[str], batches: bool, errors: type[Exception], scalars: Collection[str] = ()
    ) -> None:
        self._run, self._names, self._batches, self._errors = run, list(names), batches, errors
        self._scalars = frozenset(scalars)

    def answer(self, requests: Sequence[Any]) -> list[Any]:
        """One response per request, in order. Requests of a batch have the same shapes but for axis 0: Triton's
        dynamic batcher joins no others."""
        feeds = [self._feed(request) for request in requests]
        if self._batches and len(feeds) > 1:
            try:
                return self._joined(feeds)
            except self._errors:
                pass  # one of them is at fault: apart, the others are answered
        return [self._alone(feed) for feed in feeds]

    def _feed(self, request: Any) -> Feed:
        feed = {name: from_triton(triton.get_input_tensor_by_name(request, name)) for name in self._names}
        return {name: array.reshape(()) if name in self._scalars else array for name, array in feed.items()}

    def _joined(self, feeds: Sequence[Feed]) -> list[Any]:
        outputs = self._run({name: np.concatenate([feed[name] for feed in feeds]) for name in self._names})
        responses, start = [], 0
        for feed in feeds:
            end = start + len(feed[self._names[0]])
            responses.append(_response({name: array[start:end] for name, array in outputs.items()}))
            start = end
        return responses

    def _alone(self, feed: Feed) -> Any:
        try:
            return _response(self._run(feed))
        except self._errors as error:
            return triton.InferenceResponse(error=triton.TritonError(str(error)))


def _response(outputs: dict[str, Array]) -> Any:
    return triton.InferenceResponse([to_triton(name, np.atleast_1d(array)) for name, array in outputs.items()])
