"""Search for a budget on models with labels: ``python -m studies.search.run --zoo FOLDER --out FOLDER``.

``FOLDER`` holds what ``python -m studies.baselines.fetch FOLDER`` fetches. Each model is asked twice: with its metric
on one half of its labels, and without any label; then the other half says what came of it. A model whose JSON is there
is not run again. ``python -m studies.search.write OUT -o docs/search.md`` writes the page.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.report.model import Report
from benchmarks.score import Infer
from engines.engine import Array, Feed
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.digests import digest_of
from graphs.errors import BadInput
from graphs.files import write_json
from optimizer import optimize
from optimizer.events import Event, Note
from optimizer.simulation.run import simulated
from studies.baselines.names import MODELS
from studies.baselines.task import Halved, Task, load_task
from studies.search.results import Trial

TARGET = "t4"
SCHEME = "tensorrt"


def main() -> int:
    arguments = _arguments()
    for model in arguments.models:
        task = load_task(model, arguments.zoo, arguments.out)
        for labelled in (True, False):
            place = arguments.out / f"{model}.{'labelled' if labelled else 'proxy'}.json"
            if not place.exists():
                trial = _trial(arguments, model, task, labelled)
                write_json(place, trial)
                print(_line(trial), flush=True)
    return 0


def _trial(arguments: argparse.Namespace, model: str, task: Task, labelled: bool) -> Trial:
    source, quick = arguments.zoo / model / "model.onnx", arguments.quick
    if not isinstance(task, Halved):
        raise BadInput("its labels cannot be halved", where=model)
    seen, unseen = task.half(0), task.half(1)
    with ExitStack() as stack:
        fp32 = stack.enter_context(OnnxRuntimeEngine(source))
        reference = _remembered(fp32.infer)

        def score(infer: Infer) -> float:
            return seen.score(infer, reference, quick)

        started = time.perf_counter()
        result = optimize(
            source,
            out=arguments.out / f"{model}.{'labelled' if labelled else 'proxy'}",
            force=True,
            data=partial(_feeds, task, "calibration", quick),
            eval_data=partial(_feeds, task, "held_back", quick),
            evaluate=score if labelled else None,
            max_drop=arguments.max_drop,
            targets=[TARGET],
            loadgen=(),
            listeners=[_say],
        )
        seconds = time.perf_counter() - started
        before = tuple(half.score(fp32.infer, reference, quick) for half in (seen, unseen))
        engine = stack.enter_context(simulated(result.bundle / "model.onnx"))
        after = [half.score(engine.infer, reference, quick) for half in (seen, unseen)]
    drops = [(old - new) / abs(old or 1.0) for old, new in zip(before, after, strict=True)]
    return _told(result.report, model, seen.metric, labelled, (before[0], before[1]), drops, seconds)


def _told(
    report: Report,
    model: str,
    metric: str,
    labelled: bool,
    fp32: tuple[float, float],
    drops: list[float],
    seconds: float,
) -> Trial:
    accuracy = report.accuracy
    if accuracy is None or accuracy.max_drop is None:
        raise BadInput("the report has no accuracy", where=model)
    return Trial(
        model,
        metric,
        labelled,
        accuracy.max_drop,
        report.status,
        report.precision.int8_mac_share or 0.0,
        accuracy.budget,
        report.search.get(SCHEME),
        fp32,
        drops[0],
        drops[1],
        report.timings.get(f"calibrate-{SCHEME}", 0.0),
        seconds,
        {"held back": accuracy.samples},
        min((output.sqnr_db or 0.0 for output in accuracy.outputs.values()), default=0.0),
    )


def _remembered(infer: Infer) -> Infer:
    """``infer``, which runs no feed twice: metrics that ask the FP32 model are asked for every form."""
    known: dict[str, dict[str, Array]] = {}

    def answered(feed: Feed) -> dict[str, Array]:
        key = digest_of([name.encode() + array.tobytes() for name, array in sorted(feed.items())])
        if key not in known:
            known[key] = infer(feed)
        return known[key]

    return answered


def _feeds(task: Task, part: str, quick: bool) -> Iterator[Feed]:
    yield from getattr(task, part)(quick)


def _say(event: Event) -> None:
    if isinstance(event, Note):
        print(f"  {event.message}", flush=True)


def _line(trial: Trial) -> str:
    asked = "metric" if trial.labelled else "proxy"
    return (
        f"{trial.model} by {asked}: {trial.int8_mac_share:.1%} of MACs in int8, {trial.metric} lost "
        f"{trial.seen_drop:.2%} on the half that was searched by, {trial.unseen_drop:.2%} on the other"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, required=True, help="folder with a folder per model")
    parser.add_argument("--out", type=Path, required=True, help="folder for bundles and results")
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(MODELS), help="comma-separated")
    parser.add_argument("--max-drop", type=float, default=0.005, help="fraction of the metric; default 0.005")
    parser.add_argument("--quick", action="store_true", help="few samples: to see that it runs, not to quote")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    return arguments


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BadInput as error:
        sys.exit(str(error))
