"""What the comparison writes: one JSON per cell, a cell being a model, a tool and a configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from graphs.files import read_json


@dataclass(frozen=True)
class Cost:
    """Seconds of calibration and quantization; ``peak_mb`` is the memory they took above imports and data.

    ``samples`` feeds were given to calibrate on.
    """

    seconds: float
    peak_mb: float
    samples: int


@dataclass(frozen=True)
class Quality:
    """Against FP32 on held-back samples, of the output the task metric reads."""

    sqnr_db: float
    agreement: float
    agreement_kind: str
    failure: str = ""


@dataclass(frozen=True)
class Evaluation:
    """``simulated`` has Q/DQ executed in float, as close as a CPU comes to what TensorRT computes; ``cpu`` is the graph
    as ONNX Runtime runs it. ``metric`` is measured on the one that the configuration is meant for (``metric_of``).

    ``symmetric`` says that every activation is int8 with zero point 0, as TensorRT needs. ``speedup`` is FP32 latency
    over INT8 latency, one sample, medians of interleaved runs; None where the CPU does not run the graph.
    """

    metric_name: str
    metric: float
    fp32_metric: float
    metric_of: str
    held_back: int
    simulated: Quality | None
    cpu: Quality | None
    int8_mac_share: float
    symmetric: bool
    fp32_ms: float | None
    speedup: float | None
    failures: list[str] = field(default_factory=list)

    @property
    def drop(self) -> float:
        return self.fp32_metric - self.metric


@dataclass(frozen=True)
class Machine:
    """Where and with what a cell was made."""

    cpu: str
    cores: int
    load_average: float
    versions: dict[str, str]
    date: str


@dataclass(frozen=True)
class Cell:
    """``error`` is empty, or why there is no ``evaluation``."""

    model: str
    tool: str
    configuration: str
    quick: bool
    machine: Machine
    cost: Cost | None = None
    evaluation: Evaluation | None = None
    error: str = ""


def read_cells(folder: Path) -> list[Cell]:
    """Every cell under ``folder``, in the order of file names."""
    return [read_json(path, Cell) for path in sorted(folder.glob("*/*.cell.json"))]
