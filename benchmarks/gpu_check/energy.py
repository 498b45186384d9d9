"""Energy of one GPU from the driver's own counter (NVML ``nvmlDeviceGetTotalEnergyConsumption``, Volta and later)."""

from __future__ import annotations

from typing import Any


class EnergyCounter:
    """Joules the board has used, idle power included. ``reason`` says why there is none when it cannot be read.

    The driver updates the counter every 20 to 100 ms, so a difference means something from about a second on.
    """

    def __init__(self, index: int) -> None:
        self.reason = ""
        self._nvml: Any = None
        try:
            import pynvml

            pynvml.nvmlInit()
            self._nvml = pynvml
            self._handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        except ImportError:
            self.reason = "nvidia-ml-py is not installed"
        except pynvml.NVMLError as error:
            self.reason = f"NVML: {error}"

    def joules(self) -> float | None:
        """Joules since the driver was loaded; None without a counter."""
        if self.reason:
            return None
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1e3

    def close(self) -> None:
        if self._nvml is not None:
            self._nvml.nvmlShutdown()
            self._nvml, self.reason = None, "closed"
