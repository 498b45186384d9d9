"""Joules a device has used, from its own counters.

- NVIDIA GPU: NVML ``nvmlDeviceGetTotalEnergyConsumption`` (Volta and later), the whole board, idle power included.
- CPU: RAPL through Linux's powercap (``/sys/class/powercap/intel-rapl:*``, Intel and AMD), all packages and their
  memory, idle power included. Readable by root alone since CVE-2020-8694, and absent in most virtual machines.

Neither is the power at the wall that MLPerf Power measures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from engines.targets.nvml import NoNvml, Nvml

POWERCAP = Path("/sys/class/powercap")


class EnergyCounter(Protocol):
    """Something that counts joules; ``reason`` says why it cannot, and ``source`` what it counts."""

    reason: str
    source: str

    def joules(self) -> float | None: ...


class NvmlCounter:
    """Joules one GPU's board has used. ``reason`` says why there is none when it cannot be read.

    The driver updates the counter every 20 to 100 ms, so a difference means something from about a second on.
    """

    source = "NVML, the whole board, idle power included"

    def __init__(self, index: int) -> None:
        self.reason = ""
        self._nvml: Nvml | None = None
        try:
            self._nvml = Nvml()
            self._device = self._nvml.device(index)
            self._nvml.joules(self._device)
        except NoNvml as error:
            self.reason = str(error)

    def joules(self) -> float | None:
        """Joules since the driver was loaded; None without a counter."""
        if self.reason or self._nvml is None:
            return None
        return self._nvml.joules(self._device)

    def close(self) -> None:
        if self._nvml is not None:
            self._nvml.close()
            self._nvml, self.reason = None, "closed"


class RaplCounter:
    """Joules the processor packages and their memory have used since this object was made."""

    source = "RAPL, all packages and memory, idle power included"

    def __init__(self, root: Path = POWERCAP) -> None:
        self.reason = ""
        self._zones = [zone for path in sorted(root.glob("intel-rapl:*")) if (zone := _Zone.open(path)) is not None]
        if not self._zones:
            self.reason = f"no RAPL counter under {root} (most virtual machines have none)"
            return
        try:
            self.joules()
        except OSError as error:
            self.reason = f"{error.filename} is not readable: run as root, or grant it with chmod o+r"

    def joules(self) -> float | None:
        """Joules so far; None without a counter. Call it at least once a minute: the counters wrap around."""
        if self.reason:
            return None
        return sum(zone.microjoules() for zone in self._zones) / 1e6


class _Zone:
    """One counter, unwrapped: it falls back to zero at ``max_energy_range_uj``."""

    def __init__(self, path: Path, span: int) -> None:
        self._path, self._span = path / "energy_uj", span
        self._last: int | None = None
        self._total = 0

    @staticmethod
    def open(path: Path) -> _Zone | None:
        """The zone of a package or of its memory; None for parts that a package's counter already holds."""
        try:
            name = (path / "name").read_text().strip()
            if not name.startswith("package") and name != "dram":
                return None
            return _Zone(path, int((path / "max_energy_range_uj").read_text()))
        except (OSError, ValueError):
            return None

    def microjoules(self) -> int:
        now = int(self._path.read_text())
        if self._last is not None:
            self._total += (now - self._last) % (self._span + 1)
        self._last = now
        return self._total


def counter_for(gpu_index: int | None) -> EnergyCounter:
    """The counter of a GPU, or of this machine's processors for None."""
    return RaplCounter() if gpu_index is None else NvmlCounter(gpu_index)
