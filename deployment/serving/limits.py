"""How much the server takes on at once: requests, and bytes of their bodies. What is beyond is refused, at once and
with the time after which to try again, so that memory stays bounded and those that were taken are answered soon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from deployment.serving.refusals import Refusal
from graphs.errors import BadInput

MIB = 1 << 20  # bytes

_OPTIONS = {
    "requests": "--max-requests",
    "request_bytes": "--max-request",
    "memory_bytes": "--max-memory",
    "connections": "--max-connections",
    "client_seconds": "--client-timeout",
}
"""What the command calls them."""


@dataclass(frozen=True)
class Limits:
    """``requests`` are those being read, waiting, computed or answered; ``request_bytes`` is the largest body,
    ``memory_bytes`` what all bodies may take together, ``connections`` those of HTTP. ``client_seconds`` is how long a
    client may take to send a request or to take its answer. All chosen: see docs/serving.md.
    """

    requests: int = 256
    request_bytes: int = 16 * MIB
    memory_bytes: int = 1024 * MIB
    connections: int = 1024
    client_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name, option in _OPTIONS.items():
            if not 0 < (value := getattr(self, name)) < math.inf:
                raise BadInput(f"{value} is no limit", where=option, expected="more than 0")
        if self.request_bytes > self.memory_bytes:
            what = f"one request may take {self.request_bytes // MIB} MiB, all together {self.memory_bytes // MIB}"
            raise BadInput(what, where="--max-request", expected="at most --max-memory")

    @property
    def grpc_calls(self) -> int:
        """Calls that gRPC may read at once: it reads a message whole before anybody can ask for its size."""
        return max(min(self.requests, self.memory_bytes // self.request_bytes), 1)


class Gate:
    """Counts what is being served. Used from the event loop's thread alone."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.requests, self.bytes = limits, 0, 0
        self.draining = False

    def admit(self) -> Place:
        """A request's place, to be left as a context manager. Raises ``Refusal`` where the server is full or stops."""
        if self.draining:
            raise Refusal(503, "the server is about to stop", retry=True)
        if self.requests >= self.limits.requests:
            raise Refusal(429, f"{self.requests} requests are being served, which is the limit", retry=True)
        self.requests += 1
        return Place(self)


class Place:
    """One request's, and the bytes of its body."""

    def __init__(self, gate: Gate) -> None:
        self._gate, self.held = gate, 0

    def hold(self, size: int) -> None:
        """Hold ``size`` bytes in all, or more if it does already. Raises ``Refusal`` where that is too much."""
        gate, more = self._gate, size - self.held
        if more <= 0:
            return
        if size > gate.limits.request_bytes:
            raise Refusal(413, f"the request is larger than {gate.limits.request_bytes} bytes, which is the limit")
        if gate.bytes + more > gate.limits.memory_bytes:
            raise Refusal(429, f"requests of {gate.bytes} bytes are being served, which is near the limit", retry=True)
        gate.bytes += more
        self.held = size

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self._gate.bytes -= self.held
        self._gate.requests -= 1
