"""NVIDIA's published MLPerf Inference results that predictions are held against, and the graphs they ran.

``published.csv`` holds rows of NVIDIA's closed-division submissions, read from the ``mlperf_log_summary.txt`` that
``path`` names in ``github.com/mlcommons/inference_results_<round>``; every run is VALID. BERT-99.9 was submitted for
systems of several GPUs only, so its results are divided by ``gpus``."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx_ir as ir

from benchmarks.roofline.fusion import kernels
from benchmarks.roofline.kernels import Kernel
from studies.roofline.models.bert import bert_large
from studies.roofline.models.convolutional import resnet50, ssd_mobilenet, ssd_resnet34

SQUAD_LENGTH = 177
"""Mean length in tokens of SQuAD v1.1 at 384: 54 % of the tokens are padding (openreview.net/forum?id=3nzKUh9a4M)."""


@dataclass(frozen=True)
class Workload:
    """A benchmark's graph in the precision NVIDIA ran it in; ``model`` is held out as a whole."""

    benchmark: str
    model: str
    precision: str
    build: Callable[[str], ir.Model]
    shapes: dict[str, tuple[int, ...]]

    def kernels(self) -> list[Kernel]:
        return kernels(self.build(self.precision), self.shapes)


WORKLOADS = (
    Workload("resnet50", "ResNet-50", "int8", resnet50, {"input": (1, 3, 224, 224)}),
    Workload("ssd-resnet34", "SSD-ResNet34", "int8", ssd_resnet34, {"image": (1, 3, 1200, 1200)}),
    Workload("ssd-mobilenet", "SSD-MobileNet", "int8", ssd_mobilenet, {"image": (1, 3, 300, 300)}),
    Workload("bert-99", "BERT", "int8", partial(bert_large, length=SQUAD_LENGTH), {"input_ids": (1, SQUAD_LENGTH)}),
    Workload("bert-99.9", "BERT", "fp16", partial(bert_large, length=SQUAD_LENGTH), {"input_ids": (1, SQUAD_LENGTH)}),
)


@dataclass(frozen=True)
class Published:
    """One result per GPU: samples per second (``offline``) or p90 milliseconds (``singlestream``)."""

    gpu: str
    benchmark: str
    scenario: str
    value: float
    round: str
    path: str


def published() -> list[Published]:
    """All rows of ``published.csv``, per GPU."""
    with (Path(__file__).parent / "published.csv").open(encoding="utf-8", newline="") as file:
        return [
            Published(
                row["gpu"],
                row["benchmark"],
                row["scenario"],
                float(row["value"]) / int(row["gpus"]),
                row["round"],
                row["path"],
            )
            for row in csv.DictReader(file)
        ]
