"""A machine with a GPU that is none: packages under the real names, put on a command's ``PYTHONPATH``.

``tensorrt`` parses ONNX, writes plans and runs them by ONNX Runtime on the CPU; ``cuda.bindings.runtime`` keeps device
memory in host memory; ``pynvml`` tells of one A100. Names, arguments and answers are those of TensorRT 11, cuda-python
and nvidia-ml-py as far as ours use them. What is to go wrong stands in ``$STAND_IN_FAULTS`` (``faults.py``).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

PACKAGES = Path(__file__).parent / "packages"
ROOT = Path(__file__).parents[2]


def environment(cache: Path, **faults: str) -> dict[str, str]:
    """The environment of a command that runs there; ``faults`` as ``crash="int8"``."""
    return {
        **os.environ,
        "PYTHONPATH": f"{PACKAGES}{os.pathsep}{ROOT}",
        "ENGINEWRIGHT_CACHE": str(cache),
        "STAND_IN_FAULTS": json.dumps(faults),
    }
