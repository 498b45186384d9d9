"""How much data our INT8 needs: ``python -m studies.baselines.samples --zoo FOLDER --models mobilenet_v2``.

The TensorRT form calibrated on all samples (512 of MobileNetV2), on 64, on 8, on synthetic scenes (what ``optimize``
takes without ``--data``) and on white noise; SQNR on held-back samples and the task metric of each, one line per model
and source.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from benchmarks.accuracy.compare import compare
from calibration.sources.batch_norms import match_batch_norms
from calibration.sources.synthetic import DEFAULT_SAMPLES, SyntheticSource
from engines.engine import Feed
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.storage.saving import save_model
from optimizer.corrections import ALL, LEARNING, Correction
from optimizer.importing import import_model
from optimizer.passes.clean import clean
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.stages.data.inputs import model_inputs
from optimizer.stages.forms.calibrated import AUTO_METHODS
from studies.baselines.names import MODELS
from studies.baselines.task import Plentiful, Task, joined, load_task
from studies.baselines.tools.enginewright_tool import TOOL, typed_int8

FEW = (64, 8)  # calibration samples


def main() -> int:
    arguments = _arguments()
    print(f"{'model':18}{'calibrated on':28}{'SQNR dB':>8}{'metric':>9}{'FP32':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models:
            _one(name, arguments.zoo, Path(folder))
    return 0


def _one(name: str, zoo: Path, folder: Path) -> None:
    task = load_task(name, zoo, folder)
    path = zoo / name / "model.onnx"
    real = task.plenty() if isinstance(task, Plentiful) else task.calibration(False)
    model = import_model(path).model
    shapes = {name: array.shape for name, array in real[0].items()}
    source = SyntheticSource(model_inputs(model), samples=DEFAULT_SAMPLES, shapes=shapes)
    scenes = list(match_batch_norms(model, source).samples())
    clean(model)
    for what, feeds, corrections in (
        (f"all {len(real)} samples", real, ALL),
        *((f"{few} samples", real[:few], ALL) for few in FEW),
        (f"no data: {len(scenes)} scenes", scenes, ALL - LEARNING),
        (f"no data: {len(scenes)} of white noise", _noise(real[0], len(scenes)), ALL - LEARNING),
    ):
        sqnr, metric, fp32 = _measure(task, path, model, feeds, corrections, folder)
        print(f"{name:18}{what:28}{sqnr:8.1f}{metric:9.4f}{fp32:9.4f}", flush=True)


def _measure(
    task: Task, path: Path, model: ir.Model, feeds: Sequence[Feed], corrections: frozenset[Correction], folder: Path
) -> tuple[float, float, float]:
    settings = replace(TOOL.settings(model, feeds[0], "tensorrt"), corrections=corrections)
    calibrator = Calibrator(lambda: feeds, True, AUTO_METHODS)
    save_model(typed_int8(model, calibrator, feeds, settings), folder / "typed.onnx")
    with OnnxRuntimeEngine(path) as fp32, OnnxRuntimeEngine(folder / "typed.onnx", fuse_qdq=False) as typed:
        accuracy = compare(fp32, {"typed": typed}, joined(task.held_back(False), 8))["typed"]
        scores = task.score(typed.infer, fp32.infer, False), task.score(fp32.infer, fp32.infer, False)
    return accuracy.outputs[task.output].sqnr_db, *scores


def _noise(like: Feed, count: int) -> list[Feed]:
    rng = np.random.default_rng(0)
    return [
        {name: rng.standard_normal(array.shape).astype(array.dtype) for name, array in like.items()}
        for _ in range(count)
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, required=True, help="folder that fetch.py filled")
    known = ("mobilenet_v2", "fashion_resnet14", "deepbrain_unet3d", "yolov3_tiny")
    assert set(known) <= set(MODELS)
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(known[:2]), help="of image models")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
