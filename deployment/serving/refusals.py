"""Why a request is not answered, in the words of both protocols: a status of HTTP and one of gRPC."""

from __future__ import annotations

from graphs.errors import EnginewrightError, in_a_line

GRPC_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}
"""HTTP's status -> gRPC's (grpc/doc/http-grpc-status-mapping.md read the other way; 413 is what gRPC itself says of a
message that is too large)."""
RETRY_SECONDS = 1
"""What ``Retry-After`` says of an overload: whole seconds, the least that header can say. A full queue is empty again
in much less."""


class Refusal(Exception):
    """``message`` is one line; ``retry`` says that the same request may be answered ``RETRY_SECONDS`` later."""

    def __init__(self, status: int, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.status, self.message, self.retry = status, message, retry


def bad_request(what: str, *, where: str = "", expected: str = "") -> Refusal:
    """Status 400 in the words of every other error of ours."""
    return Refusal(400, in_a_line(EnginewrightError(what, where=where, expected=expected)))


def not_found(message: str) -> Refusal:
    return Refusal(404, message)
