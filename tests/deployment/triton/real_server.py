"""Whether this machine has a tritonserver to test on."""

from __future__ import annotations

from deployment.triton.server.files import find_server
from graphs.errors import BadInput


def has_server() -> bool:
    """``make test`` installs one, for Linux x86-64."""
    try:
        find_server().environment()
    except BadInput:
        return False
    return True
