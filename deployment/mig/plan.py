"""Slices for models and their load: for each the least of a GPU that holds it and answers its load.

What a slice does of what the GPU does is its share of the multiprocessors, times what NVIDIA's own results lost by
cutting: MLPerf v1.1 Offline, ResNet-50 on an A100 80 GB, 5,316 samples/s on one 1g.10gb of 39,830 on the whole GPU,
93 % of a seventh.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from engines.targets.mig import MigGpu, MigProfile
from graphs.errors import BadInput

KEPT = 0.93
"""Part of its share of the GPU's rate that a slice reaches: launches are no shorter on fewer multiprocessors. Chosen,
not measured: ``optimize bench`` in a slice tells."""
RESERVED_BYTES = 1 << 30
"""Of a slice's memory, for the CUDA context, libraries' workspaces and buffers of requests. Chosen."""


@dataclass(frozen=True)
class Demand:
    """A model: ``load`` is the samples per second it must answer, ``rate`` those of the whole GPU (measured, or a
    prediction less its error: ``how``), ``bytes`` the device memory of its engine."""

    name: str
    bundle: str
    load: float
    rate: float
    bytes: int
    how: str


@dataclass(frozen=True)
class Slice:
    """An instance of ``profile`` on GPU number ``gpu`` from memory slice ``start`` on; ``rate`` is what the model does
    there, in samples per second (predicted, as no slice was measured)."""

    gpu: int
    profile: str
    start: int
    model: str
    rate: float


@dataclass(frozen=True)
class MigPlan:
    """``slices`` in the order in which they are created: by GPU, large ones first, as their places are fewer. The
    driver picks the places; those here show that there are enough."""

    gpu: str
    gpus: int
    slices: tuple[Slice, ...]
    demands: tuple[Demand, ...] = ()


@dataclass
class _Cut:
    """What is taken of one GPU."""

    compute: int = 0
    memory: set[int] = field(default_factory=set)

    def place(self, profile: MigProfile, compute: int) -> int | None:
        """Take the last place that is free (the first ones are all that large profiles can use); None without one."""
        if self.compute + profile.compute > compute:
            return None
        for start in reversed(profile.starts):
            wanted = set(range(start, start + profile.memory))
            if not wanted & self.memory:
                self.memory |= wanted
                self.compute += profile.compute
                return start
        return None


def plan_slices(gpu: MigGpu, demands: Sequence[Demand], most_gpus: int = 1) -> MigPlan:
    """A plan for all ``demands``. Raises ``BadInput`` for a model that no slice holds, and where ``most_gpus`` are too
    few."""
    wanted = [(profile, demand) for demand in demands for profile in _profiles_for(gpu, demand, most_gpus)]
    wanted.sort(key=lambda pair: (-pair[0].memory, -pair[0].compute))
    cuts: list[_Cut] = []
    slices: list[Slice] = []
    for profile, demand in wanted:
        number, start = _placed(cuts, profile, gpu)
        slices.append(Slice(number, profile.name, start, demand.name, round(_rate(gpu, profile, demand), 1)))
    if len(cuts) > most_gpus:
        raise _too_few(f"{len(slices)} slices need {len(cuts)} of {gpu.title}", len(cuts), most_gpus)
    slices.sort(key=lambda each: each.gpu)  # stable: large ones stay first
    return MigPlan(gpu.name, len(cuts), tuple(slices), tuple(demands))


def _too_few(what: str, needed: int, most: int) -> BadInput:
    return BadInput(what, where=f"--gpus {most}", fix=f"give it {needed}, or less load")


def _placed(cuts: list[_Cut], profile: MigProfile, gpu: MigGpu) -> tuple[int, int]:
    for number, cut in enumerate(cuts):
        if (start := cut.place(profile, gpu.compute)) is not None:
            return number, start
    cuts.append(_Cut())
    start = cuts[-1].place(profile, gpu.compute)
    assert start is not None  # an empty GPU holds each of its profiles
    return len(cuts) - 1, start


def _profiles_for(gpu: MigGpu, demand: Demand, most_gpus: int) -> list[MigProfile]:
    """The slices of one model: of all profiles that hold it the way that takes the least of a GPU, of equal ones that
    with the fewest servers."""
    if not (0 < demand.load < math.inf and 0 < demand.rate < math.inf):
        what = f"a load of {demand.load:g} at a rate of {demand.rate:g}"
        raise BadInput(what, where=demand.bundle, expected="numbers of samples per second, more than 0")
    need = demand.bytes + RESERVED_BYTES
    fitting = [each for each in gpu.profiles if "+" not in each.name and each.memory_gb << 30 >= need]
    if not fitting:
        what = f"needs {need / (1 << 30):.1f} GiB, more than a whole {gpu.title} has"
        raise BadInput(what, where=demand.bundle)

    def cost(profile: MigProfile) -> tuple[float, int]:
        count = math.ceil(demand.load / _rate(gpu, profile, demand))
        on_one = min(gpu.compute // profile.compute, len(profile.starts))
        return count / on_one, count

    best = min(fitting, key=cost)
    of_a_gpu, count = cost(best)
    if of_a_gpu > most_gpus:
        needed = math.ceil(of_a_gpu)
        raise _too_few(f"{demand.name} alone needs {needed} of {gpu.title}", needed, most_gpus)
    return [best] * count


def _rate(gpu: MigGpu, profile: MigProfile, demand: Demand) -> float:
    whole = profile.compute == gpu.compute
    return demand.rate if whole else demand.rate * profile.compute / gpu.compute * KEPT
