"""Peak memory of building a plan of a model beyond protobuf's 2 GiB, in the builder's child and in its parent."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from pathlib import Path

from engines.build import BuildRequest, build_engine
from engines.profile import ShapeProfile, ShapeRange
from engines.targets.target import TARGETS
from studies.large_model import make_large_model

LIMIT = 3.5  # times the size of the weights that peak memory may be: the exit status says whether
_SHAPES = ShapeRange((1, 16, 1536), (1, 128, 1536), (4, 256, 1536))


@dataclass(frozen=True)
class LargeBuild:
    """``weights`` and ``plan`` bytes; ``child`` and ``parent`` the largest resident sizes, bytes, mapped weights
    included; ``seconds`` wall time of the build."""

    weights: int
    plan: int
    child: int
    parent: int
    seconds: float

    @property
    def times(self) -> float:
        """Peak memory as a multiple of the weights."""
        return self.child / self.weights

    def __str__(self) -> str:
        return (
            f"weights {self.weights / 1e9:.2f} GB, plan {self.plan / 1e9:.2f} GB for SM80 in {self.seconds:.1f} s; "
            f"peak memory of the builder {self.child / 1e9:.2f} GB = {self.times:.2f} x the weights, "
            f"of its parent {self.parent / 1e9:.2f} GB"
        )


def build_large(weight_bytes: int, folder: Path) -> LargeBuild:
    """Make an FP32 transformer of ``weight_bytes`` in ``folder`` and build its plan for an A100."""
    model = folder / "large.onnx"
    weights = make_large_model(model, weight_bytes)
    request = BuildRequest(model, TARGETS["a100"], ShapeProfile({"tokens": _SHAPES}), folder / "a100", "fp32")
    started = time.perf_counter()
    manifest = build_engine(request, cache=False)
    seconds = time.perf_counter() - started
    child, parent = _peak(resource.RUSAGE_CHILDREN), _peak(resource.RUSAGE_SELF)
    return LargeBuild(weights, manifest.bytes, child, parent, seconds)


def _peak(who: int) -> int:
    return resource.getrusage(who).ru_maxrss * 1024  # Linux counts KiB
