"""Architectures on the TensorRT and the GPU of this machine: ``python -m studies.gpu_check.architectures FOLDER``.

``FOLDER`` holds what ``studies.breadth.architectures export`` writes: ``NAME.onnx``, and inputs in ``NAME.npz``. Each
is typed with made-up ranges, built, and run beside the simulation of its graph. A row of JSON a model and precision
goes to ``--out``: what became of it, and the SQNR of its worst output in dB.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.accuracy.compare import compare
from engines.apart.opening import open_apart
from engines.build import build_engine
from engines.build_request import BuildRequest
from engines.engine import Feed, TensorSpec
from engines.errors import BuildError, EngineError
from engines.profile import ShapeProfile, ShapeRange
from engines.targets.gpus_here import native_target
from engines.targets.target import Target
from graphs.errors import BadInput, in_a_line
from graphs.reading.macs import count_macs
from graphs.storage.saving import save_model
from optimizer.events import Events
from optimizer.importing import import_model
from optimizer.passes.clean import clean
from optimizer.settings.job import Settings
from optimizer.settings.options import Precision
from optimizer.simulation.run import simulated
from optimizer.stages.data.inputs import model_inputs
from optimizer.stages.forms.lowering import readable
from optimizer.typed.graph import type_by_structure
from studies.breadth.architectures import few_rows

RAN, REFUSED, BROKE, UNUSABLE = "ran", "refused", "broke", "unusable"
LIMIT_S = 120.0
"""Seconds a build may take."""


@dataclass(frozen=True)
class Row:
    """``refused``: TensorRT or our check before it took the graph not; ``broke``: the engine did not run; ``unusable``:
    the model is refused on import, or its own graph does not run, which other studies look at."""

    name: str
    precision: str
    outcome: str
    reason: str = ""
    sqnr_db: float | None = None
    build_seconds: float | None = None
    layers: int = 0


@dataclass(frozen=True)
class _Held:
    """The one feed as held-back data."""

    feed: Feed
    specs: tuple[TensorSpec, ...]
    digest: str = ""
    description: str = "a feed"
    synthetic: bool = True

    def __len__(self) -> int:
        return 1

    def samples(self) -> Iterator[Feed]:
        yield self.feed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="these alone")
    parser.add_argument("--precision", nargs="*", choices=["fp32", "fp16", "int8"], default=["fp16", "int8"])
    parser.add_argument("--at-once", type=int, default=4, help="models built at the same time: nothing is timed")
    parser.add_argument("--builder-option", action="append", default=[], help="as `optimize --builder-option`")
    parser.add_argument("--out", type=Path, default=Path("gpu-architectures.jsonl"))
    asked = parser.parse_args(arguments)
    try:
        options = Settings(builder_options=tuple(asked.builder_option)).tensorrt_options
    except BadInput as error:
        parser.error(in_a_line(error))
    target = native_target()
    if target is None:
        parser.error("no NVIDIA GPU was found here")
    paths = [path for path in sorted(asked.folder.glob("*.onnx")) if not asked.names or path.stem in asked.names]
    outcomes = Counter[str]()
    with ThreadPoolExecutor(asked.at_once) as pool, asked.out.open("a") as out:
        work = [pool.submit(_row, path, one, target, options) for path in paths for one in asked.precision]
        for done in as_completed(work):
            row = done.result()
            outcomes[row.outcome] += 1
            out.write(json.dumps(asdict(row)) + "\n")
            out.flush()
            print(f"{row.name} {row.precision}: {row.outcome} {row.sqnr_db} {row.reason}", flush=True)
    print(dict(outcomes))
    return 0


def _row(path: Path, precision: str, target: Target, options: dict[str, str]) -> Row:
    try:
        return _tried(path, Precision(precision), target, options)
    except Exception as error:  # a failure is what is looked for
        return Row(path.stem, precision, BROKE, f"{type(error).__name__}: {in_a_line(error)}")


def _tried(path: Path, precision: Precision, target: Target, options: dict[str, str]) -> Row:
    feed = few_rows(path.with_suffix(".npz"))
    try:
        model = import_model(path).model
        clean(model)
    except BadInput as error:
        return Row(path.stem, precision.value, UNUSABLE, in_a_line(error))
    shapes = {name: array.shape for name, array in feed.items()}
    costs = {name: cost.macs for name, cost in count_macs(model, shapes).items() if cost.macs}
    with tempfile.TemporaryDirectory() as folder:
        typed, engine = Path(folder) / "model.onnx", Path(folder) / "engine"
        save_model(type_by_structure(model, precision, costs), typed)
        profile = ShapeProfile({name: ShapeRange(shape, shape, shape) for name, shape in shapes.items()})
        request = BuildRequest(typed, target, profile, engine, precision.value, time_limit_s=LIMIT_S, options=options)
        try:
            with readable(request, _Held(feed, model_inputs(model)), Events()) as taken:
                manifest = build_engine(taken, cache=False)
        except (BadInput, BuildError) as error:
            return Row(path.stem, precision.value, REFUSED, in_a_line(error))
        seconds, layers = round(manifest.build_seconds, 1), len(manifest.layers)
        with simulated(typed) as twin:
            twin.learn(model_inputs(model))
            try:
                twin.infer(feed)
            except EngineError as error:
                return Row(path.stem, precision.value, UNUSABLE, in_a_line(error))
            try:
                with open_apart(engine) as own:
                    accuracy = compare(twin, {"engine": own}, [feed])["engine"]
            except EngineError as error:
                return Row(path.stem, precision.value, BROKE, in_a_line(error), None, seconds, layers)
        worst = min((output.sqnr_db for output in accuracy.outputs.values() if output.floats), default=None)
        return Row(path.stem, precision.value, RAN, "", worst and round(worst, 1), seconds, layers)


if __name__ == "__main__":
    raise SystemExit(main())
