"""``python -m studies.sparsity.table [--zoo FOLDER] [--models NAME …]``: what each step wins back, in a table.

Each model is scored dense, pruned by magnitude, by magnitude with its channels reordered, solved for layer by layer
with channels as they are, both, and both in INT8 as TensorRT's form computes it (simulated). Nothing is retrained.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import onnx_ir as ir

from engines.engine import Feed, batchable
from engines.onnxruntime.graph import running
from graphs.reading.macs import count_macs
from graphs.storage.saving import save_model
from optimizer.importing import import_model
from optimizer.passes.clean import clean
from optimizer.quantization.codes.scheme import TENSORRT
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.settings import QuantizeSettings
from optimizer.simulation.run import simulated
from optimizer.sparsity.claims import confirmed
from optimizer.sparsity.record import NodeSparsity
from optimizer.sparsity.sparsify import How, Sparsified, sparsify
from optimizer.stages.data.inputs import model_inputs
from optimizer.stages.forms.calibrated import AUTO_METHODS
from studies.baselines.tools.enginewright_tool import typed_int8
from studies.sparsity.cases import Case, cases, recovered

STEPS = {
    "magnitude": (False, False),
    "+ permutation": (True, False),
    "reconstruction alone": (False, True),
    "+ permutation + reconstruction": (True, True),
}


def main() -> int:
    """Print a table per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, help="folder that holds fashion_resnet14/ and minilm/")
    parser.add_argument("--models", nargs="+", help="of demo, fashion_resnet14, minilm; all that are there by default")
    parser.add_argument("--cache", type=Path, help="folder that keeps MiniLM's probe, which scikit-learn fits")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = cases(options.zoo, options.cache or Path(scratch))
        for name in options.models or found:
            if name not in found:
                parser.error(f"no model {name!r}: there are {', '.join(found)}")
            print(f"\n### {name}\n")
            for line in rows(found[name]):
                print(line, flush=True)
    return 0


def rows(case: Case) -> Iterator[str]:
    """The lines of one model's table."""
    model = import_model(case.model).model
    clean(model)
    feeds = case.calibration()
    costs = _costs(model, feeds)
    with running(model) as engine:
        dense = case.scores(engine.infer)
    yield f"| form | {' | '.join(f'{name} | won back' for name in dense)} | weights 2:4 | took |"
    yield "| --- |" + " --- | --- |" * len(dense) + " --- | --- |"
    yield _row("dense", dense, {}, dense, "0", 0.0)
    plain: dict[str, float] = {}
    for step, (permute, solve) in STEPS.items():
        start = perf_counter()
        made = sparsify(model, feeds, How(sum(costs.values()), permute=permute, solve=solve))
        took = perf_counter() - start
        with running(made.model) as engine:
            scores = case.scores(engine.infer)
        plain = plain or scores
        yield _row(step, scores, plain, dense, _checked(made.nodes, made.model), took)
    yield _in_int8(case, made, feeds, plain, dense)
    yield _in_int8(case, Sparsified(model, model, {}, []), feeds, plain, dense, "dense, INT8")


def _costs(model: ir.Model, feeds: list[Feed]) -> dict[str, int]:
    largest = max(feeds, key=lambda feed: sum(array.size for array in feed.values()))
    costs = count_macs(model, {name: array.shape for name, array in largest.items()})
    return {name: cost.macs for name, cost in costs.items() if cost.macs}


def _in_int8(
    case: Case,
    made: Sparsified,
    feeds: list[Feed],
    plain: dict[str, float],
    dense: dict[str, float],
    title: str = "+ permutation + reconstruction + INT8",
) -> str:
    start = perf_counter()
    calibrator = Calibrator(lambda: feeds, batchable(model_inputs(made.model)), AUTO_METHODS)
    settings = QuantizeSettings(scheme=TENSORRT, costs=_costs(made.model, feeds))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        save_model(typed_int8(made.model, calibrator, feeds, settings), path)
        took = perf_counter() - start
        with simulated(path) as engine:
            scores = case.scores(engine.infer)
        return _row(title, scores, plain, dense, _checked(made.nodes, ir.load(path)), took)


def _checked(nodes: dict[str, NodeSparsity], written: ir.Model) -> str:
    """How many of the weights that are claimed to be 2:4 are so in ``written``."""
    held = confirmed(nodes, written)
    return f"{sum(node.sparse for node in held.values())} of {sum(node.sparse for node in nodes.values())}"


def _row(
    title: str, scores: dict[str, float], plain: dict[str, float], dense: dict[str, float], sparse: str, took: float
) -> str:
    cells = []
    for name, value in scores.items():
        back = f"{recovered(dense[name], plain[name], value):.0%}" if plain and scores is not plain else ""
        cells.append(f"{value:.4f} | {back}")
    return f"| {title} | {' | '.join(cells)} | {sparse} | {took:.0f} s |"


if __name__ == "__main__":
    raise SystemExit(main())
