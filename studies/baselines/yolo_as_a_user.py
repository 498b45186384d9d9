"""YOLO's calibration data and metric as ``optimize`` takes them, from the folder that ``fetch.py`` filled (``ZOO``).

    ZOO=zoo optimize zoo/yolov3_tiny/model.onnx --precision int8 --target a100 \\
      --data studies/baselines/yolo_as_a_user.py:calibration --evaluate studies/baselines/yolo_as_a_user.py:map50
"""

from __future__ import annotations

import os
from pathlib import Path

from engines.engine import Feed
from studies.baselines.models.yolov3_tiny import Yolo
from studies.baselines.task import Infer


def calibration() -> list[Feed]:
    return _yolo().calibration(quick=False)


def map50(infer: Infer) -> float:
    return _yolo().score(infer, infer, quick=False)


def _yolo() -> Yolo:
    return Yolo(Path(os.environ.get("ZOO", "zoo")) / "yolov3_tiny")
