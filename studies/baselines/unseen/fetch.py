"""Fetch the unseen models and make their inputs: ``python -m studies.baselines.unseen.fetch ZOO``.

Each gets a folder with ``model.onnx``, ``calibration/*.npz`` and ``held_back/*.npz`` (one sample a file): what the
comparison reads, and what ``optimize ZOO/NAME/model.onnx --data ZOO/NAME/calibration`` takes as it is. Models below
opset 13, where baselines write broken graphs, are converted; every tool gets the same file.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import version_converter

from engines.engine import Feed
from engines.onnxruntime.engine import OnnxRuntimeEngine
from studies.baselines.names import UNSEEN
from studies.baselines.packages import NotFetched, Packages, fetch_all, one
from studies.baselines.unseen.recipes import RECIPES, Recipe

OPSET = 17  # what a model of an older one is converted to
SAME = 1e-4
"""Relative difference up to which a converted model counts as the same."""


def fetch(name: str, packages: Packages, out: Path) -> None:
    """``out/model.onnx`` and its inputs. Raises ``NotFetched``."""
    recipe = RECIPES[name]
    if (out / "model.onnx").exists():
        return
    for kind, count in (("calibration", recipe.calibration), ("held_back", recipe.held_back)):
        (out / kind).mkdir(parents=True, exist_ok=True)
        for k, feed in enumerate(recipe.make(packages, count, kind == "calibration")):
            np.savez(out / kind / f"{k:04}.npz", allow_pickle=False, **feed)
    with np.load(out / "calibration" / "0000.npz") as file:
        feed = {key: file[key] for key in file.files}
    source = one(packages.pypi(recipe.package), Path(recipe.file).name) if "/" not in recipe.file else None
    source = source or next(
        path for path in packages.pypi(recipe.package).rglob("*.onnx") if str(path).endswith(recipe.file)
    )
    onnx.save(_prepared(onnx.load(source), recipe, feed, out), out / "model.onnx")


def _prepared(model: onnx.ModelProto, recipe: Recipe, feed: Feed, folder: Path) -> onnx.ModelProto:
    if recipe.shape is not None:
        _reshape(model, *recipe.shape)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset >= 13:
        return model
    converted = version_converter.convert_version(model, OPSET)
    before, after = (_outputs(which, feed, folder)[recipe.output] for which in (model, converted))
    if np.linalg.norm(before - after) > SAME * np.linalg.norm(before):
        raise NotFetched("converting its opset changes what it computes")
    return converted


def _reshape(model: onnx.ModelProto, name: str, shape: tuple[int | str, ...]) -> None:
    """Declare the input shape that users give; what was inferred from the old one goes."""
    (value,) = (value for value in model.graph.input if value.name == name)
    value.CopyFrom(onnx.helper.make_tensor_value_info(name, value.type.tensor_type.elem_type, shape))
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")


def _outputs(model: onnx.ModelProto, feed: Feed, folder: Path) -> dict[str, np.ndarray]:
    path = folder / "trial.onnx"
    onnx.save(model, path)
    with OnnxRuntimeEngine(path) as engine:
        found = engine.infer(feed)
    path.unlink()
    return found


if __name__ == "__main__":
    sys.exit(fetch_all(__doc__, UNSEEN, fetch))
