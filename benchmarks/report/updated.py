"""What a report says of the update of a bundle: what was kept of it, and the time that took beside its own."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class CalibrationCheck:
    """Whether the earlier bundle's calibration was ``kept`` for a form; ``why`` says what was found of it."""

    kept: bool
    why: str

    @property
    def sentence(self) -> str:
        return f"{'kept' if self.kept else 'made again'}: {self.why}"


@dataclass(frozen=True)
class UpdateSummary:
    """``bundle`` is the name of the one that was updated, ``seconds`` what it took to make, with what it had from
    earlier runs; ``same_machine`` whether that was on this processor. ``calibration`` is by form: ``model.onnx``,
    ``cpu``; empty where nothing was calibrated. ``cpu_why`` is the reason for the form of the CPU's engine, from when
    that was chosen; empty where this update chose it anew.
    """

    bundle: str
    model_digest: str
    seconds: float
    same_machine: bool
    calibration: dict[str, CalibrationCheck] = field(default_factory=dict)
    cpu_why: str = ""
