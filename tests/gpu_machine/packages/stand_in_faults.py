"""What is to go wrong: ``$STAND_IN_FAULTS`` is JSON, a fault's name -> what the engine that it strikes computes in.

- ``unparsed``: the parser does not know an operator. ``refuse``: the builder has no kernel for a node.
- ``foreign``: the plan is of another version.
- ``memory``: no room for an execution context. ``crash``: a segfault in an inference.
- ``wrong``: answers of the wrong sign. ``coarse``: answers that are 3 % off. ``slow``: six times the time.
- ``operator``: one node's kernel is 10 % off, of the engines named before a colon: ``int8:/features/3/Conv``.
- ``energy``: NVML counts no energy (whatever it is set to).
"""

from __future__ import annotations

import json
import os


def wrong_operator(kind: str) -> str:
    """The node whose kernel is wrong in an engine that computes in ``kind``; empty where none is."""
    struck, _, node = _faults().get("operator", "").partition(":")
    return node if kind in struck.split(",") else ""


def _faults() -> dict[str, str]:
    return json.loads(os.environ.get("STAND_IN_FAULTS", "{}"))


def strikes(fault: str, kind: str) -> bool:
    """Whether ``fault`` strikes an engine that computes in ``kind`` ("int8", "fp16", "fp32")."""
    return kind in _faults().get(fault, "").split(",")
