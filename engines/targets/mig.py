"""Slices of a GPU (Multi-Instance GPU): which profiles a GPU can be cut into, and what Kubernetes calls them.

Profiles: NVIDIA Multi-Instance GPU User Guide, "Supported MIG Profiles"
(https://docs.nvidia.com/datacenter/tesla/mig-user-guide/supported-mig-profiles.html). Names of resources: NVIDIA's
device plugin with the strategy ``mixed`` (https://docs.nvidia.com/datacenter/cloud-native/kubernetes/latest/index.html).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from graphs.errors import BadInput

GPU_RESOURCE = "nvidia.com/gpu"
"""A whole GPU; with the strategy ``single`` also a slice, where all of a node's are alike."""
_MIG_RESOURCE = "nvidia.com/mig-"


@dataclass(frozen=True)
class MigProfile:
    """``name`` as ``nvidia-smi mig -cgi`` takes it; ``compute`` slices of the GPU's multiprocessors, ``memory`` slices
    of its memory, and ``starts``: the memory slices at which an instance may begin."""

    name: str
    compute: int
    memory: int
    starts: tuple[int, ...]

    @property
    def resource(self) -> str:
        """Kubernetes' name of it."""
        return _MIG_RESOURCE + self.name.replace("+", ".")

    @property
    def memory_gb(self) -> int:
        """GB, as the name says."""
        return int(self.name.partition(".")[2].partition("gb")[0])


@dataclass(frozen=True)
class MigGpu:
    """A GPU that can be cut: how many slices of multiprocessors it has (memory has one more, on an A30 as many)."""

    name: str
    title: str
    target: str
    compute: int
    profiles: tuple[MigProfile, ...]


def _of_seven(*names: str) -> tuple[MigProfile, ...]:
    """Profiles of a GPU with 7 slices of multiprocessors and 8 of memory; ``names`` from the smallest on. The larger of
    the two with one compute slice (``1g.10gb`` of 5 GB slices) takes two slices of memory."""
    small, media, wide, two, three, four, whole = names
    return (
        MigProfile(small, 1, 1, (0, 1, 2, 3, 4, 5, 6)),
        MigProfile(media, 1, 1, (0, 1, 2, 3, 4, 5, 6)),
        MigProfile(wide, 1, 2, (0, 2, 4, 6)),
        MigProfile(two, 2, 2, (0, 2, 4)),
        MigProfile(three, 3, 4, (0, 4)),
        MigProfile(four, 4, 4, (0,)),
        MigProfile(whole, 7, 8, (0,)),
    )


_OF_80_GB = _of_seven("1g.10gb", "1g.10gb+me", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb")
_OF_40_GB = _of_seven("1g.5gb", "1g.5gb+me", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb")
_OF_A30 = (
    MigProfile("1g.6gb", 1, 1, (0, 1, 2, 3)),
    MigProfile("1g.6gb+me", 1, 1, (0, 1, 2, 3)),
    MigProfile("2g.12gb", 2, 2, (0, 2)),
    MigProfile("2g.12gb+me", 2, 2, (0, 2)),
    MigProfile("4g.24gb", 4, 4, (0,)),
)
MIG_GPUS: dict[str, MigGpu] = {
    gpu.name: gpu
    for gpu in (
        MigGpu("a100-40gb", "NVIDIA A100 40 GB", "a100", 7, _OF_40_GB),
        MigGpu("a100-80gb", "NVIDIA A100 80 GB", "a100", 7, _OF_80_GB),
        MigGpu("a30", "NVIDIA A30", "a30", 4, _OF_A30),
        MigGpu("h100-80gb", "NVIDIA H100 80 GB", "h100", 7, _OF_80_GB),
    )
}
"""Placements as ``nvidia-smi mig -lgipp`` lists them in the guide. Of profiles with media engines (``+me``) a GPU takes
one; no plan needs them."""


def check_gpu_resource(resource: str, targets: Iterable[str]) -> None:
    """Raise ``BadInput`` for a resource that is no GPU's, or a slice that no GPU of ``targets`` (all must do) is cut
    into."""
    where = "--gpu-resource"
    if resource == GPU_RESOURCE:
        return
    known = {profile.resource for gpu in MIG_GPUS.values() for profile in gpu.profiles}
    if resource not in known:
        expected = ", ".join([GPU_RESOURCE, *sorted(known)])
        raise BadInput(f"{resource!r} is no GPU", where=where, expected=f"one of {expected}")
    for target in targets:
        fitting = [profile.resource for gpu in MIG_GPUS.values() if gpu.target == target for profile in gpu.profiles]
        if resource not in fitting:
            what = f"{target} is not cut into {resource.removeprefix(_MIG_RESOURCE)}"
            raise BadInput(what, where=where, expected=", ".join(fitting) or GPU_RESOURCE)
