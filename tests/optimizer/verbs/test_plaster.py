"""optimize plaster: what it measures is of this model and these settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import onnx

from engines.build import BuildRequest, build_engine
from engines.open import open_engine
from engines.profile import ShapeProfile
from engines.targets.target import CPU
from optimizer.bundle import Bundle
from optimizer.verbs.plaster import VARIANTS, _engine_folder


@dataclass(frozen=True)
class Folder:
    """The part of a bundle that the study reads."""

    path: Path

    def engine_directory(self, target: str) -> Path:
        return self.path / "engines" / target


def bundle_of(factor: float, path: Path) -> Bundle:
    text = f"""<ir_version: 10, opset_import: ["" : 21]>
    graph (float[batch,2] x) => (float[batch,2] y) <float f = {{{factor}}}> {{ y = Mul(x, f) }}"""
    path.mkdir(exist_ok=True)
    onnx.save(onnx.parser.parse_model(text), path / "model.onnx")
    folder = Folder(path)
    if not folder.engine_directory("cpu").exists():
        build_engine(BuildRequest(path / "model.onnx", CPU, ShapeProfile({}), folder.engine_directory("cpu"), "fp32"))
    return cast(Bundle, folder)


def test_the_fp16_engine_is_of_the_model_at_hand(tmp_path: Path) -> None:
    for value in (2.0, 3.0):
        engine = _engine_folder(bundle_of(value, tmp_path / "bundle"), VARIANTS["fp16"], CPU.name, tmp_path / "study")
        with open_engine(engine) as opened:
            found = opened.infer({"x": np.ones((1, 2), np.float32)})["y"]
        assert found.tolist() == [[value, value]]
