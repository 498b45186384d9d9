"""The system description: the fields MLPerf asks for, filled from this machine. What it cannot know, it says so."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.submission.request import IMPLEMENTATION, UNVERIFIED
from benchmarks.timing.conditions import read_conditions
from engines.manifest import EngineManifest
from engines.targets.gpus_here import detect_gpus

UNKNOWN = "the operating system does not say"


def describe_system(
    *, division: str, submitter: str, name: str, system_type: str, engine: EngineManifest
) -> dict[str, str]:
    """The ``systems/*.json`` document. Values are texts, as in published submissions."""
    return {
        "division": division,
        "submitter": submitter,
        "status": "unverified",
        "system_name": name,
        "system_type": system_type,
        "system_type_detail": "unverified",
        "number_of_nodes": "1",
        **_host(),
        **_accelerator(engine),
        **_software(engine),
        "cooling": UNKNOWN,
        "hw_notes": "",
        "sw_notes": UNVERIFIED,
    }


def system_name(engine: EngineManifest) -> str:
    """A folder name: the accelerator (or processor) and the backend."""
    conditions = read_conditions()
    device = conditions.gpus[0].name if engine.compute_capability and conditions.gpus else conditions.cpu
    return re.sub(r"[^A-Za-z0-9.]+", "-", f"{device}-{engine.backend}").strip("-")


def _host() -> dict[str, str]:
    cpu = _lscpu()
    conditions = read_conditions()
    sockets = cpu.get("Socket(s)", "1")
    cores = cpu.get("Core(s) per socket", str(os.cpu_count() or 1))
    caches = ", ".join(f"{key.split()[0]} {cpu[key]}" for key in cpu if key.endswith("cache"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "host_processor_model_name": conditions.cpu,
        "host_processors_per_node": sockets,
        "host_processor_core_count": cores,
        "host_processor_vcpu_count": str(os.cpu_count() or 1),
        "host_processor_frequency": f"{conditions.mhz:.0f} MHz" if conditions.mhz else UNKNOWN,
        "host_processor_caches": caches or UNKNOWN,
        "host_processor_interconnect": "none" if sockets == "1" else UNKNOWN,
        "host_memory_capacity": f"{memory / 2**30:.1f} GiB",
        "host_memory_configuration": UNKNOWN,
        "host_storage_capacity": f"{shutil.disk_usage('/').total / 2**30:.0f} GiB",
        "host_storage_type": _storage(),
        "host_networking": ", ".join(_interfaces()) or "none",
        "host_network_card_count": str(len(_interfaces())),
        "host_networking_topology": "not used by this benchmark",
    }


def _lscpu() -> dict[str, str]:
    try:
        done = subprocess.run(["lscpu", "-J"], capture_output=True, text=True, check=True, timeout=10)
        entries: list[dict[str, Any]] = json.loads(done.stdout)["lscpu"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return {}
    return dict(_fields(entries))


def _fields(entries: list[dict[str, Any]]) -> list[tuple[str, str]]:
    found = []
    for entry in entries:
        found.append((str(entry.get("field", "")).rstrip(":"), str(entry.get("data") or "")))
        found += _fields(entry.get("children", []))
    return found


def _storage() -> str:
    """SSD or HDD, from the kernel's rotational flag of the first disk, which says nothing of a virtual one."""
    for path in sorted(Path("/sys/block").glob("*/queue/rotational")):
        if not path.parts[3].startswith(("loop", "ram", "zram")):
            if path.parts[3].startswith("vd"):
                return "virtual disk"
            return "HDD" if path.read_text().strip() == "1" else "SSD"
    return UNKNOWN


def _interfaces() -> list[str]:
    """Network interfaces with a device behind them."""
    return sorted(path.name for path in Path("/sys/class/net").glob("*") if (path / "device").exists())


def _accelerator(engine: EngineManifest) -> dict[str, str]:
    gpus = detect_gpus() if engine.compute_capability else []
    conditions = read_conditions().gpus if gpus else []
    none = "none: the engine runs on the host processor"
    clock = conditions[0].sm_mhz if conditions else None
    return {
        "accelerators_per_node": str(len(gpus)),
        "accelerator_model_name": gpus[0].name if gpus else none,
        "accelerator_memory_capacity": f"{gpus[0].memory_mb / 1024:.0f} GiB" if gpus else none,
        "accelerator_frequency": f"{clock} MHz" if clock else none,
        "accelerator_host_interconnect": UNKNOWN if gpus else none,
        "accelerator_interconnect": UNKNOWN if gpus else none,
        "accelerator_interconnect_topology": UNKNOWN if gpus else none,
        "accelerator_memory_configuration": UNKNOWN if gpus else none,
        "accelerator_on-chip_memories": UNKNOWN if gpus else none,
    }


def _software(engine: EngineManifest) -> dict[str, str]:
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "") if _has_os_release() else ""
    packages = [f"{name} {_version(name)}" for name in ("mlcommons-loadgen", "numpy", "onnx") if _version(name)]
    return {
        "framework": f"{engine.backend} {engine.backend_version}",
        "operating_system": f"{system or platform.system()} (Linux {platform.release()})",
        "other_software_stack": ", ".join([f"{IMPLEMENTATION} {_version('enginewright')}", *packages])
        + f", Python {platform.python_version()}",
    }


def _has_os_release() -> bool:
    return any(Path(path).is_file() for path in ("/etc/os-release", "/usr/lib/os-release"))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
