"""The command: ``python -m studies.gpu_check [demo] [resnet50] [bert_base] [MODEL.onnx --data DATA]``."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from itertools import count
from pathlib import Path

from engines.targets.gpus_here import Gpu, used_gpu
from engines.targets.target import NATIVE
from graphs.errors import EnginewrightError, in_a_line
from graphs.files import unwritable, write_atomically
from optimizer.cli.output.progress import ProgressLines
from optimizer.main_job import optimize
from optimizer.settings.given import choice
from optimizer.settings.job import Settings
from optimizer.settings.options import SCENARIOS, Precision, Sparsity
from studies.gpu_check.models import NAMES, Subject, subject
from studies.gpu_check.page import Conditions, Ran, page
from studies.gpu_check.readiness import no_gpu, nothing_runs, present, versions
from studies.gpu_check.runtimes import check_runtimes

PACKAGES = (
    "tensorrt",
    "tensorrt-rtx-cu13-libs",
    "onnxruntime",
    "onnxruntime-gpu",
    "cuda-bindings",
    "pycuda",
    "mlcommons-loadgen",
    "numpy",
)
EXIT_CODES = """exit codes: 0 the page is written, 1 it is written and nothing ran on the GPU, or the check broke off;
2 no GPU, no library that runs on one, or bad input"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 the page is written, 1 nothing ran on the GPU, 2 no GPU or library here, or bad input."""
    options = _parser().parse_args(arguments)
    gpu, found = used_gpu(), present()
    reason = no_gpu(found) if gpu is None else nothing_runs(found)
    if reason or gpu is None:
        _say(f"gpu-check: {reason}")
        return 2
    if options.look:
        return 0
    try:
        models = [_run(_subject(name, options), options) for name in options.models or NAMES]
        out = _written(options.out, gpu, models)
    except EnginewrightError as error:
        _say(f"gpu-check: {error}")
        return error.exit_code
    sys.stdout.write(f"{out}\n")
    return 0 if any(_ran(model) for model in models) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.gpu_check",
        description=__doc__,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"{', '.join(NAMES)} (default: all), or MODEL.onnx")
    parser.add_argument("--look", action="store_true", help="only say whether a check can run here")
    parser.add_argument("--data", help="inputs of a MODEL.onnx, as `optimize --data` takes them")
    parser.add_argument("--precision", default="int8", help="as `optimize --precision`; its siblings are measured, too")
    parser.add_argument("--sparsity", default="none", help="as `optimize --sparsity`: 2:4 prunes the weights")
    parser.add_argument(
        "--builder-option", action="append", default=[], help="as `optimize --builder-option`; repeatable"
    )
    parser.add_argument("--duration", type=float, default=10.0, help="seconds of each of LoadGen's four scenarios")
    parser.add_argument("--work", type=Path, default=Path("gpu-check.optimized"), help="folder of models and bundles")
    parser.add_argument("--out", type=Path, default=Path("docs/measurements"), help="folder of the page")
    return parser


def _subject(name: str, options: argparse.Namespace) -> Subject:
    settings = Settings(
        precision=choice(Precision, options.precision, "--precision"),
        sparsity=choice(Sparsity, options.sparsity, "--sparsity"),
        targets=(NATIVE,),
        loadgen=SCENARIOS,
        duration=options.duration,
        builder_options=tuple(options.builder_option),
    )
    if name in NAMES:
        return subject(name, options.work, settings)
    return Subject(Path(name).stem, Path(name), Settings(**{**vars(settings), "data": options.data}))


def _run(model: Subject, options: argparse.Namespace) -> Ran:
    _say(f"{model.name}:")
    try:
        result = optimize(
            model.model, settings=model.settings, out=options.work / model.name, listeners=[ProgressLines()]
        )
    except EnginewrightError as error:  # what one model is refused for must not cost what the others measure
        _say(f"{model.name}: {in_a_line(error)}")
        return Ran(model.name, None, in_a_line(error))
    return Ran(model.name, result.report)


def _ran(model: Ran) -> bool:
    return model.report is not None and any(target.status == "measured" for target in model.report.targets.values())


def _written(folder: Path, gpu: Gpu, models: Sequence[Ran]) -> Path:
    conditions = Conditions(
        date=datetime.now(timezone.utc).date().isoformat(),
        gpu=gpu.name,
        compute_capability="SM{}{}".format(*gpu.compute_capability),
        driver=gpu.driver,
        versions={"python": sys.version.split()[0], **versions(PACKAGES)},
    )
    name = re.sub(r"[^a-z0-9]+", "-", gpu.name.lower()).strip("-")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        out = _new_file(folder, f"{name}-{conditions.date}")
        write_atomically(out, page(conditions, models, check_runtimes()).encode())
    except OSError as error:
        raise unwritable(folder, error) from error
    return out


def _new_file(folder: Path, stem: str) -> Path:
    """``stem.md``, or ``stem-2.md`` and so on: an earlier page is a measurement and is kept."""
    names = (f"{stem}.md" if number == 1 else f"{stem}-{number}.md" for number in count(1))
    return next(folder / name for name in names if not (folder / name).exists())


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
