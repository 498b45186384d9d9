"""Slices of a GPU (Multi-Instance GPU): which profiles a GPU can be cut into, and what Kubernetes calls them.

Profiles: NVIDIA Multi-Instance GPU User Guide, "Supported MIG Profiles"
(https://docs.nvidia.com/datacenter/tesla/mig-user-guide/supported-mig-profiles.html). Names of resources: NVIDIA's
device plugin with the strategy ``mixed`` (https://docs.nvidia.com/datacenter/cloud-native/kubernetes/latest/index.html).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from graphs.errors import BadInput

GPU_RESOURCE = "nvidia.com/gpu"
"""A whole GPU; with the strategy ``single`` also a slice, where all of a node's are alike."""
_MIG_RESOURCE = "nvidia.com/mig-"


@dataclass(frozen=True)
class MigProfile:
    """``name`` as ``nvidia-smi mig -cgi`` takes it; ``slices`` of the GPU's multiprocessors (of seven, on an A30 of
    four), ``memory_gb`` as the name says, ``most`` instances of it on one GPU."""

    name: str
    slices: int
    memory_gb: int
    most: int

    @property
    def resource(self) -> str:
        """Kubernetes' name of it."""
        return _MIG_RESOURCE + self.name.replace("+", ".")


def _profiles(*rows: tuple[str, int]) -> tuple[MigProfile, ...]:
    found = []
    for name, most in rows:
        slices, memory = re.match(r"(\d)g\.(\d+)gb", name).groups()  # type: ignore[union-attr]  # the rows below
        found.append(MigProfile(name, int(slices), int(memory), most))
    return tuple(found)


_OF_80_GB = _profiles(
    ("1g.10gb", 7), ("1g.10gb+me", 1), ("1g.20gb", 4), ("2g.20gb", 3), ("3g.40gb", 2), ("4g.40gb", 1), ("7g.80gb", 1)
)
MIG_PROFILES: dict[str, tuple[MigProfile, ...]] = {
    "A100 40 GB": _profiles(
        ("1g.5gb", 7), ("1g.5gb+me", 1), ("1g.10gb", 4), ("2g.10gb", 3), ("3g.20gb", 2), ("4g.20gb", 1), ("7g.40gb", 1)
    ),
    "A100 80 GB": _OF_80_GB,
    "A30": _profiles(("1g.6gb", 4), ("1g.6gb+me", 1), ("2g.12gb", 2), ("2g.12gb+me", 1), ("4g.24gb", 1)),
    "H100 80 GB": _OF_80_GB,
}
"""By GPU, in the guide's order."""
_GPUS_OF_TARGET = {"a100": ("A100 40 GB", "A100 80 GB"), "a30": ("A30",), "h100": ("H100 80 GB",)}


def check_gpu_resource(resource: str, targets: Iterable[str]) -> None:
    """Raise ``BadInput`` for a resource that is no GPU's, or a slice that no GPU of ``targets`` (all must do) is cut
    into."""
    where = "--gpu-resource"
    if resource == GPU_RESOURCE:
        return
    known = {profile.resource for profiles in MIG_PROFILES.values() for profile in profiles}
    if resource not in known:
        expected = ", ".join([GPU_RESOURCE, *sorted(known)])
        raise BadInput(f"{resource!r} is no GPU", where=where, expected=f"one of {expected}")
    for target in targets:
        gpus = _GPUS_OF_TARGET.get(target, ())
        fitting = [profile.resource for gpu in gpus for profile in MIG_PROFILES[gpu]]
        if resource not in fitting:
            what = f"{target} is not cut into {resource.removeprefix(_MIG_RESOURCE)}"
            raise BadInput(what, where=where, expected=", ".join(fitting) or GPU_RESOURCE)
