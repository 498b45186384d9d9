"""The command: ``python -m studies.gpu_check MODEL.onnx|BUNDLE … [--reference FP32.onnx] [--inputs DATA]``."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from itertools import count
from pathlib import Path

from engines.targets.gpus_here import Gpu, used_gpu
from graphs.errors import BadInput, EnginewrightError
from graphs.files import unwritable, write_atomically
from studies.gpu_check.check import CheckSettings
from studies.gpu_check.page import Conditions, ModelResult, page
from studies.gpu_check.readiness import no_gpu, nothing_runs, present, versions
from studies.gpu_check.run import Plan, check_models
from studies.gpu_check.runtimes import check_runtimes

PACKAGES = (
    "tensorrt",
    "tensorrt-rtx-cu13-libs",
    "onnxruntime",
    "onnxruntime-gpu",
    "cuda-python",
    "pycuda",
    "mlcommons-loadgen",
    "numpy",
)
EXIT_CODES = """exit codes: 0 the page is written, 1 it is written and nothing ran on the GPU, or the check broke off;
2 no GPU, no library that runs on one, or bad input"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 the page is written, 1 nothing ran on the GPU, 2 no GPU or library here, or bad input."""
    parser = _parser()
    options = parser.parse_args(arguments)
    gpu, found = used_gpu(), present()
    reason = no_gpu(found) if gpu is None else nothing_runs(found)
    if reason or gpu is None:
        _say(f"gpu-check: {reason}")
        return 2
    if options.look:
        return 0
    if not options.models:
        parser.error("name at least one MODEL.onnx or BUNDLE")
    try:
        out, results = _check(options, gpu)
    except EnginewrightError as error:
        _say(f"gpu-check: {error}")
        return error.exit_code
    sys.stdout.write(f"{out}\n")
    return 0 if any(not way.failure for model in results for way in model.ways) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.gpu_check",
        description=__doc__,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "models", type=Path, nargs="*", metavar="MODEL", help="ONNX model, or a bundle for its model.onnx"
    )
    parser.add_argument("--look", action="store_true", help="only say whether a check can run here")
    parser.add_argument("--reference", type=Path, help="FP32 model to compare with (default: the first model)")
    parser.add_argument("--inputs", help=".npz (first axis = samples) or file.py:function (default: seeded random)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=2.0, help="time per measured batch size")
    parser.add_argument("--loadgen-seconds", type=float, default=10.0, help="time per LoadGen scenario, 0 for none")
    parser.add_argument("--slots", type=int, default=2, help="batches in flight")
    parser.add_argument("--cuda-runtime", choices=("cuda-python", "pycuda"), default="cuda-python")
    parser.add_argument("--out", type=Path, default=Path("docs/measurements"), help="folder of the page")
    return parser


def _check(options: argparse.Namespace, gpu: Gpu) -> tuple[Path, list[ModelResult]]:
    models = [_model(path) for path in options.models]
    plan = Plan(
        models=models,
        reference=_model(options.reference) if options.reference else models[0],
        inputs=options.inputs,
        settings=CheckSettings(tuple(options.batches), options.seconds, options.loadgen_seconds),
        slots=options.slots,
        cuda_runtime=options.cuda_runtime,
    )
    _say("CUDA runtimes")
    runtimes = check_runtimes()
    results, energy = check_models(plan, gpu, _say)
    conditions = _conditions(options, gpu, energy)
    name = re.sub(r"[^a-z0-9]+", "-", gpu.name.lower()).strip("-")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        out = _new_file(options.out, f"{name}-{conditions.date}")
        write_atomically(out, page(conditions, results, runtimes).encode())
    except OSError as error:
        raise unwritable(options.out, error) from error
    return out, results


def _model(path: Path) -> Path:
    """The ONNX file itself, or the typed one of a bundle."""
    file = path / "model.onnx" if path.is_dir() else path
    if not file.is_file():
        raise BadInput("no such file", where=str(file), expected="an ONNX model or a bundle")
    return file


def _new_file(folder: Path, stem: str) -> Path:
    """``stem.md``, or ``stem-2.md`` and so on: an earlier page is a measurement and is kept."""
    names = (f"{stem}.md" if number == 1 else f"{stem}-{number}.md" for number in count(1))
    return next(folder / name for name in names if not (folder / name).exists())


def _conditions(options: argparse.Namespace, gpu: Gpu, energy_reason: str) -> Conditions:
    return Conditions(
        date=datetime.now(timezone.utc).date().isoformat(),
        gpu=gpu.name,
        compute_capability="SM{}{}".format(*gpu.compute_capability),
        driver=gpu.driver,
        reference=(options.reference or options.models[0]).name,
        data=Path(options.inputs).name if options.inputs else "random inputs, seeded",
        energy=energy_reason or "NVML total energy of the board",
        versions={"python": sys.version.split()[0], **versions(PACKAGES)},
    )


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
