"""A token that requests must bring, where the server was started with one."""

from __future__ import annotations

import hmac

from deployment.serving.refusals import Refusal


class Access:
    """``token`` empty lets everybody in. Probes of life and readiness need none, as Kubernetes sends none."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode() if token else b""

    def check(self, header: str | None) -> None:
        """``header`` is what the request says as ``Authorization``, bytes that are no UTF-8 as aiohttp gives them.
        Raises ``Refusal``."""
        if self._expected and not hmac.compare_digest((header or "").encode(errors="surrogateescape"), self._expected):
            raise Refusal(401, "this server needs a token: Authorization: Bearer TOKEN")
