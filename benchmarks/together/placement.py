"""Where each engine runs: cores of the processor, or MIG instances of a GPU, one process each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from engines.targets.nvml import MigInstance, opened
from graphs.errors import BadInput


@dataclass(frozen=True)
class Placement:
    """One process's share of the machine: ``cores`` to be pinned to, or the ``device`` that it alone sees.

    ``device`` is the text of ``CUDA_VISIBLE_DEVICES``: the UUID of a MIG instance, or of a GPU.
    """

    cores: list[int] = field(default_factory=list)
    device: str = ""
    title: str = ""

    @property
    def threads(self) -> int | None:
        return len(self.cores) or None


def on_cores(count: int, cores: Sequence[int] | None = None) -> list[Placement]:
    """``count`` disjoint runs of cores, equal to within one; engines share cores in turn where there are fewer."""
    available = list(cores if cores is not None else sorted(os.sched_getaffinity(0)))
    if count > len(available):
        return [_cores([available[index % len(available)]]) for index in range(count)]
    edges = [round(index * len(available) / count) for index in range(count + 1)]
    return [_cores(available[start:end]) for start, end in itertools.pairwise(edges)]


def _cores(cores: list[int]) -> Placement:
    return Placement(cores=cores, title=f"core{'s' if len(cores) > 1 else ''} {','.join(map(str, cores))}")


def find_mig_instances() -> list[MigInstance]:
    """Every MIG instance NVML sees; empty without a driver, or where no GPU is partitioned."""
    with opened() as nvml:
        return nvml.mig_instances() if nvml is not None else []


def on_mig(count: int, instances: Sequence[MigInstance]) -> list[Placement]:
    """One instance per engine. Raises ``BadInput`` where there are fewer instances than engines."""
    if count > len(instances):
        have = f"{len(instances)} MIG instance{'s' if len(instances) != 1 else ''}"
        raise BadInput(
            f"{count} engines, {have}",
            where="MIG",
            expected="one instance per engine",
            fix="partition the GPU (nvidia-smi mig -cgi 1g.10gb,… -C), or name fewer engines",
        )
    chosen = list(instances)[:count]
    return [Placement(device=found.uuid, title=f"{found.name} ({found.uuid[:12]}…)") for found in chosen]
