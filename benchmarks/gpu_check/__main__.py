"""The command: ``python -m benchmarks.gpu_check MODEL.onnx [--reference FP32.onnx] [--inputs DATA.npz]``."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib import metadata
from itertools import count
from pathlib import Path

from benchmarks.energy import NvmlCounter
from benchmarks.gpu_check.candidates import Job, candidates
from benchmarks.gpu_check.check import CandidateResult, CheckSettings, Data, check
from benchmarks.gpu_check.feeds import load_feeds
from benchmarks.gpu_check.page import Conditions, page
from benchmarks.loadgen.samples import save_samples
from engines.errors import BadInput, EnginewrightError
from engines.files import sha256_file, write_atomically
from engines.gpu import Gpu, detect_gpus, target_of
from engines.onnxruntime_engine import OnnxRuntimeEngine
from engines.profile import infer_profile

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 the page is written, 1 nothing ran on the GPU, 2 no GPU here or bad input."""
    options = _parser().parse_args(arguments)
    gpus = detect_gpus()
    if not gpus:
        _say("gpu-check: no NVIDIA GPU with a driver was found here; run it on a machine where `nvidia-smi` lists one")
        return 2
    try:
        out, results = _check(options, gpus[0])
    except EnginewrightError as error:
        _say(f"gpu-check: {error}")
        return error.exit_code
    sys.stdout.write(f"{out}\n")
    return 0 if any(not result.failure for result in results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("model", type=Path, help="typed ONNX model to build, for example BUNDLE/model.onnx")
    parser.add_argument("--reference", type=Path, help="FP32 model to compare with (default: the model itself)")
    parser.add_argument("--inputs", type=Path, help=".npz of inputs, first axis = samples (default: seeded random)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=2.0, help="time per measured batch size")
    parser.add_argument("--loadgen-seconds", type=float, default=10.0, help="time per LoadGen scenario, 0 for none")
    parser.add_argument("--slots", type=int, default=2, help="batches in flight")
    parser.add_argument("--cuda-runtime", choices=("cuda-python", "pycuda"), default="cuda-python")
    parser.add_argument("--out", type=Path, default=Path("docs/measurements"), help="folder of the page")
    return parser


def _check(options: argparse.Namespace, gpu: Gpu) -> tuple[Path, list[CandidateResult]]:
    for path in (options.model, options.reference or options.model):
        if not path.is_file():
            raise BadInput("no such file", where=str(path))
    energy = NvmlCounter(gpu.index)
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as work:
        try:
            results = _run(options, gpu, Path(work), energy)
        finally:
            reason = energy.reason
            energy.close()
    conditions = _conditions(options, gpu, reason)
    name = re.sub(r"[^a-z0-9]+", "-", gpu.name.lower()).strip("-")
    out = _new_file(Path(options.out), f"{name}-{conditions.date}")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, page(conditions, results).encode())
    return out, results


def _new_file(folder: Path, stem: str) -> Path:
    """``stem.md``, or ``stem-2.md`` and so on: an earlier page is a measurement and is kept."""
    names = (f"{stem}.md" if number == 1 else f"{stem}-{number}.md" for number in count(1))
    return next(folder / name for name in names if not (folder / name).exists())


def _run(options: argparse.Namespace, gpu: Gpu, work: Path, energy: NvmlCounter) -> list[CandidateResult]:
    settings = CheckSettings(tuple(options.batches), options.seconds, options.loadgen_seconds)
    with OnnxRuntimeEngine(options.reference or options.model) as reference:
        feeds = load_feeds(reference.inputs, options.inputs)
        observed = {spec.name: [feed[spec.name].shape for feed in feeds] for spec in reference.inputs}
        profile = infer_profile(reference.inputs, observed, {}, max_batch=max(options.batches))
        samples = save_samples(feeds, reference.inputs, work / "samples")
        data = Data(reference, feeds, samples, work / "loadgen")
        job = Job(options.model, profile, target_of(gpu), work, options.slots, options.cuda_runtime)
        found = [check(candidate, data, settings, energy, _say) for candidate in candidates(job)]
    if not found:
        raise EnginewrightError(
            f"{gpu.name} is here, but none of tensorrt, TensorRT-RTX and onnxruntime-gpu is installed",
            fix="pip install 'enginewright[tensorrt]' or 'enginewright[rtx]'",
        )
    return found


def _conditions(options: argparse.Namespace, gpu: Gpu, energy_reason: str) -> Conditions:
    return Conditions(
        date=datetime.now(timezone.utc).date().isoformat(),
        gpu=gpu.name,
        compute_capability="SM{}{}".format(*gpu.compute_capability),
        driver=gpu.driver,
        model=options.model.name,
        model_digest=sha256_file(options.model),
        data=options.inputs.name if options.inputs else "random inputs, seed 0",
        energy=energy_reason or "NVML total energy of the board",
        versions={"python": sys.version.split()[0], **_versions()},
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
