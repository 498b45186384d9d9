"""``python -m studies.sparsity.exact MODEL.onnx …``: do reordered channels leave a dense model as it is?

Each model's channels are brought into the order that 2:4 pruning loses least in, nothing is pruned, and the outputs are
compared with those before on seeded inputs: the largest difference, relative to the largest value of that output.
"""

from __future__ import annotations

import argparse
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

SAMPLES = 3
ALLOWED = 1e-5


def main() -> int:
    """Print the table; the exit code is 1 where a model differs by more than 1e-5."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    options = parser.parse_args()
    print("| model | sets of channels | reordered | order fixed | largest relative difference |")
    print("| --- | --- | --- | --- | --- |")
    wrong = 0
    for path in options.models:
        line, differs = row(path)
        print(line, flush=True)
        wrong += differs > ALLOWED
    return 1 if wrong else 0


def row(path: Path) -> tuple[str, float]:
    """The table's line for a model, and how far it is from itself."""
    model = import_model(path).model
    clean(model)
    places = channel_sets(model, survey(model))
    changed = model.clone()
    made = PermuteChannels().apply(changed)
    feeds = list(_feeds(model))
    differs = max(_differences(model, changed, feeds), default=0.0)
    fixed = sum(bool(place.fixed) for place in places)
    name = path.parent.name if path.name == "model.onnx" else path.stem
    return f"| {name} | {len(places)} | {len(made)} | {fixed} | {differs:.1e} |", differs


def _feeds(model: ir.Model) -> Iterator[Feed]:
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
