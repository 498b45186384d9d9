"""A machine with a GPU that is none: packages under the real names, put on a command's ``PYTHONPATH``.

``tensorrt`` parses ONNX, writes plans and runs them by ONNX Runtime on the CPU; ``cuda.bindings.runtime`` keeps
device memory in host memory; ``pynvml`` tells of one A100. Names, arguments and answers are those of TensorRT 11 (or
8.5), cuda-python and nvidia-ml-py as far as ours use them. What is to go wrong stands in ``$STAND_IN_FAULTS``
(``faults.py``).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

PACKAGES = Path(__file__).parent / "packages"
OLD = Path(__file__).parent / "packages8"
"""TensorRT 8.5 in place of 11, the rest the same."""
ROOT = Path(__file__).parents[2]


def environment(cache: Path, *, old: bool = False, **faults: str) -> dict[str, str]:
    """The environment of a command that runs there, with TensorRT 8.5 where ``old``; ``faults`` as
    ``crash="int8"``."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, [*([OLD] if old else []), PACKAGES, ROOT])),
        "ENGINEWRIGHT_CACHE": str(cache),
        "STAND_IN_FAULTS": json.dumps(faults),
    }
