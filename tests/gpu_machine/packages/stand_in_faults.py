"""What is to go wrong: ``$STAND_IN_FAULTS`` is JSON, a fault's name -> what the engine that it strikes computes in.

- ``unparsed``: the parser does not know an operator. ``refuse``: the builder has no kernel for a node.
- ``foreign``: the plan is of another version.
- ``memory``: no room for an execution context. ``crash``: a segfault in an inference.
- ``wrong``: answers of the wrong sign. ``coarse``: answers that are 3 % off. ``slow``: six times the time.
- ``energy``: NVML counts no energy (whatever it is set to).
"""

from __future__ import annotations

import json
import os


def strikes(fault: str, kind: str) -> bool:
    """Whether ``fault`` strikes an engine that computes in ``kind`` ("int8", "fp16", "fp32")."""
    return kind in json.loads(os.environ.get("STAND_IN_FAULTS", "{}")).get(fault, "").split(",")
