"""The calibration table: per tensor, the range its values are quantized in. Plain JSON, tied to model and data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from graphs.errors import BadInput
from graphs.files import read_json, write_json

FROM_SOURCE = "source"
"""The method of ranges that a model came with."""
SCHEMA = 1
"""Version of the layout of calibration.json."""


@dataclass(frozen=True)
class TensorRange:
    """The range of one activation tensor.

    ``minimum``/``maximum`` are the observed extremes; ``low``/``high`` the asymmetric range chosen by ``method`` (for
    uint8 with a zero point); ``amax`` the symmetric threshold chosen by ``method`` (for int8 with zero point 0).
    """

    minimum: float
    maximum: float
    low: float
    high: float
    amax: float
    method: str

    def symmetric_scale(self, highest: float) -> float:
        """Scale of symmetric codes up to ``highest``, ``amax / highest``; one for a tensor that is always zero."""
        return self.amax / highest if self.amax > 0 else 1.0

    def asymmetric_scale(self, lowest: float, highest: float) -> tuple[float, int]:
        """Scale and zero point of whole codes from ``lowest`` to ``highest``; the range is widened to contain zero,
        which stays exact.
        """
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        scale = (high - low) / (highest - lowest) or 1.0
        return scale, round(lowest - low / scale)


@dataclass(frozen=True)
class CalibrationTable:
    """Ranges of every tensor that may be quantized, and what they were taken from."""

    tensors: dict[str, TensorRange]
    method: str
    samples: int
    calibrated: bool
    model_digest: str
    data_digest: str
    schema: int = SCHEMA
    notes: list[str] = field(default_factory=list)

    def save(self, path: Path) -> None:
        write_json(path, self)

    @staticmethod
    def load(path: Path, model_digest: str | None = None) -> CalibrationTable:
        """Read a table. Raises ``BadInput`` when it belongs to another model than ``model_digest``."""
        table = read_json(path, CalibrationTable)
        if model_digest is not None and table.model_digest != model_digest:
            raise BadInput(
                "this calibration table was made for another model",
                where=str(path),
                expected=f"model digest {model_digest[:12]}, found {table.model_digest[:12]}",
                fix="calibrate again with --data",
            )
        return table
