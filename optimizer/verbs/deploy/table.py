"""The systems that ``optimize deploy`` writes for, which option is for which of them, and which option says how to do
what another asks for: one that would change nothing is refused, by name, before anything is read or written."""

from __future__ import annotations

from collections.abc import Collection

from graphs.errors import BadInput

_TRITON, _PODS = ("triton",), ("kubernetes", "kserve")
CLUSTERS = (*_PODS, "docker")
"""What runs a Triton model repository in a cluster."""
REPOSITORIES = (*_TRITON, *CLUSTERS)
"""What has a Triton model repository written."""
SIGNED = ("archive", "oci")
RELEASES = (*SIGNED, "card", "registry")
SYSTEMS = (*REPOSITORIES, "mig", "tensorrt8", *RELEASES)

USED_BY: dict[str, tuple[str, ...]] = {
    "target": REPOSITORIES,
    "name": (*REPOSITORIES, "mig", *RELEASES),
    "sign": SIGNED,
    **dict.fromkeys(("backend", "triton", "max_batch", "instances", "queue_delay", "bench"), REPOSITORIES),
    **dict.fromkeys(("cuda_graphs", "keep_versions", "model_version", "response_cache", "rate_limit"), REPOSITORIES),
    **dict.fromkeys(("preprocess", "postprocess", "raw"), REPOSITORIES),
    **dict.fromkeys(("check", "triton_server", "data", "evaluate"), _TRITON),
    **dict.fromkeys(("optimize_for", "latency_bound", "clients", "tune_seconds"), _TRITON),
    "image": ("kubernetes", "docker"),
    **dict.fromkeys(("storage_uri", "namespace", "gpu_resource", "gpu_product", "replicas", "cpu", "memory"), _PODS),
    **dict.fromkeys(("mig", "gpus", "load", "also"), ("mig",)),
}
"""The command's parameters; what is not in it (bundle, system, out) is for all."""
WITH: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("triton_server", "data", "evaluate"), ("check", "optimize_for")),
    **dict.fromkeys(("latency_bound", "clients", "tune_seconds"), ("optimize_for",)),
    "raw": ("preprocess", "postprocess"),
}
"""Options that say how: one of those named must be given, too."""
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "targets": ("target",),
    "name": ("name",),
    "triton": ("backend",),
    "check": ("check",),
    "tune": ("optimize_for",),
    "around": ("preprocess",),
    "cluster": ("image", "namespace"),
    "mig": ("mig",),
    "key": ("sign",),
}
"""The arguments of ``deploy_bundle`` that are for some systems alone: options that each is made of, which between them
are for the same systems as it."""


def panel(parameter: str) -> str:
    """The heading of help under which an option stands."""
    systems = USED_BY[parameter]
    named = f"{', '.join(systems[:-1])} and {systems[-1]}" if len(systems) > 1 else systems[0]
    return f"Options of {named}"


def check_given(system: str, given: Collection[str]) -> None:
    """``given`` are the parameters that stand on the command line. Raises ``BadInput`` for an unknown system, and for
    the first option that ``system`` has no use for, or that stands without the one it belongs to."""
    _check_system(system)
    for parameter in given:
        if system not in (systems := USED_BY.get(parameter, SYSTEMS)):
            expected = f"optimize deploy BUNDLE {'|'.join(systems)}"
            raise BadInput(f"is not for {system}", where=_option(parameter), expected=expected)
        if (others := WITH.get(parameter)) and not set(others) & set(given):
            fix = f"add {' or '.join(_option(other) for other in others)}, or leave it out"
            raise BadInput("changes nothing alone", where=_option(parameter), fix=fix)


def check_arguments(system: str, given: Collection[str]) -> None:
    """The same for ``deploy_bundle``, called from Python; ``given`` are names in ``ARGUMENTS``."""
    _check_system(system)
    for argument in given:
        systems = dict.fromkeys(system for option in ARGUMENTS[argument] for system in USED_BY[option])
        if system not in systems:
            raise BadInput(
                f"is not for {system}", where=f"deploy({argument}=…)", expected=f"one of {', '.join(systems)}"
            )


def _check_system(system: str) -> None:
    """Raises ``BadInput`` for a system that nothing is written for."""
    if system not in SYSTEMS:
        what = f"unknown serving system {system!r}"
        raise BadInput(what, where="deploy", expected=f"one of {', '.join(SYSTEMS)}")


def _option(parameter: str) -> str:
    return f"--{parameter.replace('_', '-')}"
