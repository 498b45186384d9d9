"""``python -m studies.sparsity.exact [MODEL.onnx …] [--zoo FOLDER]``: is a dense model, reordered, what it was?

Each model's channels are brought into the order that 2:4 pruning loses least in, nothing is pruned, and the outputs are
compared with those before: the largest difference, relative to the largest value of that output.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir

from calibration.sources.open import open_source
from engines.engine import Feed
from engines.onnxruntime.graph import running
from optimizer.importing import import_model
from optimizer.passes.clean import clean
from optimizer.sparsity.eligible import survey
from optimizer.sparsity.permute import PermuteChannels, channel_sets
from optimizer.stages.data.index_limits import integer_bounds, size_inputs
from optimizer.stages.data.inputs import model_inputs
from studies.baselines.names import MODELS
from studies.baselines.task import load_task

SAMPLES = 3
"""Chosen: few, since a wrong order shows in every sample."""
ALLOWED = 1e-5
"""Relative difference above which a model counts as changed: sums in another order differ by 3e-6 at most on the models
of docs/sparsity.md, in float32."""


def main() -> int:
    """Print the table; the exit code is 1 where a model differs by more than 1e-5."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="*", help="models that are fed seeded random inputs")
    parser.add_argument("--zoo", type=Path, help="folder of models with data of their own")
    parser.add_argument("--names", nargs="+", default=MODELS, choices=MODELS, help="of the zoo; all by default")
    options = parser.parse_args()
    if not options.models and options.zoo is None:
        parser.error("name a model, or a --zoo")
    print("| model | sets of channels | reordered | order fixed | largest relative difference |")
    print("| --- | --- | --- | --- | --- |")
    found = [row(path, path.stem, None) for path in options.models]
    with tempfile.TemporaryDirectory() as cache:
        for name in options.names if options.zoo is not None else ():
            feeds = load_task(name, options.zoo, Path(cache)).calibration(True)[:SAMPLES]
            found.append(row(options.zoo / name / "model.onnx", name, feeds))
    return 1 if max(found) > ALLOWED else 0


def row(path: Path, name: str, feeds: list[Feed] | None) -> float:
    """Print the table's line for a model; returns how far it is from itself."""
    model = import_model(path).model
    clean(model)
    places = channel_sets(model, survey(model))
    changed = model.clone()
    made = PermuteChannels().apply(changed)
    differs = max(_differences(model, changed, feeds or list(_drawn(model))), default=0.0)
    fixed = sum(bool(place.fixed) for place in places)
    print(f"| {name} | {len(places)} | {len(made)} | {fixed} | {differs:.1e} |", flush=True)
    return differs


def _drawn(model: ir.Model) -> Iterator[Feed]:
    specs = model_inputs(model)
    source = open_source(
        "random", specs, samples=SAMPLES, integer_bounds=integer_bounds(model), sizes=size_inputs(model)
    )
    yield from source.samples()


def _differences(model: ir.Model, changed: ir.Model, feeds: list[Feed]) -> Iterator[float]:
    with running(model) as before, running(changed) as after:
        for feed in feeds:
            expected, found = before.infer(feed), after.infer(feed)
            for name, value in expected.items():
                if value.dtype.kind == "f" and value.size:
                    scale = float(np.abs(value).max()) or 1.0
                    yield float(np.abs(value - found[name]).max()) / scale


if __name__ == "__main__":
    raise SystemExit(main())
