"""A plan as two scripts: one for the administrator, which cuts the GPUs, and one that starts a server per slice.

Neither is run here. One process sees one slice only: each server gets its own through ``CUDA_VISIBLE_DEVICES``.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator

from deployment.mig.plan import MigPlan


def partition_script(plan: MigPlan) -> str:
    """The administrator's commands, as NVIDIA's MIG user guide gives them."""
    lines = [
        "#!/bin/sh",
        "# Cuts GPUs as planned. For an administrator: nothing may run on them, and slices they have are destroyed.",
        "# Check the numbers of the GPUs (nvidia-smi -L) first.",
        "set -eu",
    ]
    for number in range(plan.gpus):
        profiles = ",".join(each.profile for each in plan.slices if each.gpu == number)
        lines += [
            f"nvidia-smi -i {number} -mig 1",
            f"nvidia-smi mig -i {number} -dci || true",
            f"nvidia-smi mig -i {number} -dgi || true",
            f"nvidia-smi mig -i {number} -cgi {profiles} -C",
        ]
    return "\n".join([*lines, "nvidia-smi -L", ""])


def serving_script(plan: MigPlan, target: str, port: int = 8000) -> str:
    """One ``optimize serve`` per slice, HTTP on even ports and gRPC on odd ones from ``port`` on; ends them all with
    itself."""
    lines = [
        "#!/bin/bash",
        "# One server per slice. Slices are found by their profile, in the order that nvidia-smi lists them.",
        "set -eu",
        "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT",
        "trap 'exit 0' TERM INT",
        *_found(plan),
        *_servers(plan, target, port),
        "wait -n  # a server that ends takes the others with it, for whoever watches this script to start it again",
    ]
    return "\n".join([*lines, ""])


def _found(plan: MigPlan) -> Iterator[str]:
    for profile, count in Counter(each.profile for each in plan.slices).items():
        pattern = profile.replace(".", "[.]")
        name = _variable(profile)
        yield f"mapfile -t {name} < <(nvidia-smi -L | sed -n 's/.*MIG {pattern} .*UUID: \\(MIG-[^)]*\\).*/\\1/p')"
        yield f'[ "${{#{name}[@]}}" -ge {count} ] || {{ echo "{count} slices {profile} are needed" >&2; exit 1; }}'


def _servers(plan: MigPlan, target: str, port: int) -> Iterator[str]:
    bundles = {demand.name: demand.bundle for demand in plan.demands}
    taken: Counter[str] = Counter()
    for number, each in enumerate(plan.slices):
        index, taken[each.profile] = taken[each.profile], taken[each.profile] + 1
        served = shlex.quote(f"{each.model}={bundles[each.model]}")
        http = port + 2 * number
        yield (
            f'CUDA_VISIBLE_DEVICES="${{{_variable(each.profile)}[{index}]}}" '
            f"optimize serve {served} --target {target} --port {http} --grpc-port {http + 1} &"
        )


def _variable(profile: str) -> str:
    return "slices_" + profile.replace(".", "_").replace("+", "_")
