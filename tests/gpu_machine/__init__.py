"""A machine with a GPU that is none: packages under the real names, put on a command's ``PYTHONPATH``.

``tensorrt`` parses ONNX, writes plans and runs them by ONNX Runtime on the CPU; ``cuda.bindings.runtime`` keeps
device memory in host memory; ``pynvml`` tells of one A100. Names, arguments and answers are those of TensorRT 11 (or
8.5), cuda-python and nvidia-ml-py as far as ours use them. What is to go wrong stands in ``$STAND_IN_FAULTS``
(``stand_in_faults.py``).
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines.tensorrt import library

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


@contextmanager
def in_this_process(*, old: bool = False) -> Iterator[None]:
    """The machine's packages for this process, in place of what is imported of the real ones, which is back
    afterwards."""
    own = list(sys.path)
    real = _taken()
    sys.path[:0] = [str(place) for place in [*([OLD] if old else []), PACKAGES]]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = own
        _taken()
        sys.modules.update(real)
        importlib.invalidate_caches()


def _taken() -> dict[str, object]:
    """Modules of the packages that the machine has of its own, taken out of this process."""
    library._load.cache_clear()
    library.process_logger.cache_clear()
    names = [name for name in sys.modules if name.partition(".")[0] in ("pynvml", "tensorrt", "cuda")]
    return {name: sys.modules.pop(name) for name in names}
