"""Run the product on every model here, and judge what it typed with onnx's reference in real float16.

    python -m studies.float16.run [--out FOLDER] [--target a100] [--precision fp16,int8,bf16] [NAME ...]

Per model and precision: what a graph typed without looking at its numbers gives, what ``onnx.reference`` gives for
``model.onnx``, what the report claims on the same samples, and what stays FP32. SQNR in dB, against the model as given.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from benchmarks.accuracy.compare import sqnr_db
from benchmarks.samples.files import write_npz
from engines.onnxruntime.engine import OnnxRuntimeEngine
from optimizer import optimize
from optimizer.importing import import_model
from optimizer.passes.clean import clean
from optimizer.passes.half_precision.graph import HalfPrecision
from studies.float16.models import MODELS, Array, Model

SAMPLES, JUDGED = 32, 8  # to watch ranges on, and held back
TYPES = {"fp16": ir.DataType.FLOAT16, "int8": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}


@dataclass(frozen=True)
class Judged:
    """One model at one precision; figures in dB. ``fp32_nodes`` of ``nodes`` stay FP32 and hold ``fp32_share`` of the
    multiply-accumulates."""

    name: str
    precision: str
    claimed: float
    judged: float
    unguarded: float
    int8_share: float
    fp32_share: float
    fp32_nodes: int
    nodes: int
    target: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="parts of names; all models without")
    parser.add_argument("--precision", default="fp16,int8")
    parser.add_argument("--target", default="a100")
    parser.add_argument("--out", type=Path, help="write float16.jsonl there")
    asked = parser.parse_args()
    for model in MODELS:
        if asked.names and not any(name in model.name for name in asked.names):
            continue
        for precision in asked.precision.split(","):
            row = judge(model, precision, asked.target)
            print(_line(row), flush=True)
            if asked.out is not None:
                asked.out.mkdir(parents=True, exist_ok=True)
                with (asked.out / "float16.jsonl").open("ab") as file:
                    file.write(msgspec.json.encode(asdict(row)) + b"\n")


def judge(model: Model, precision: str, target: str) -> Judged:
    """Optimize one model in a folder of its own, and judge the typed graph."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(model.build(), folder / "model.onnx")
        samples = _write_samples(model, folder)
        with contextlib.redirect_stdout(io.StringIO()):
            result = optimize(
                folder / "model.onnx",
                precision=precision,
                data=str(folder / "calib"),
                eval_data=str(folder / "held"),
                targets=[target],
                loadgen=[],
                out=folder / "bundle",
            )
        report = result.report
        assert report.accuracy is not None
        plan = msgspec.json.decode((folder / "bundle" / "precision.json").read_bytes())["nodes"].values()
        wide = [node for node in plan if node["dtype"] == "fp32"]
        macs = sum(node["macs"] for node in plan)
        return Judged(
            model.name,
            precision,
            min(output.sqnr_db or 0.0 for output in report.accuracy.outputs.values()),
            _judged(folder, onnx.load(folder / "bundle" / "model.onnx"), samples),
            _judged(folder, _unguarded(folder / "model.onnx", TYPES[precision]), samples),
            report.precision.int8_mac_share or 0.0,
            sum(node["macs"] for node in wide) / macs if macs else 0.0,
            len(wide),
            len(plan),
            report.targets[target].status,
        )


def _write_samples(model: Model, folder: Path) -> list[dict[str, Array]]:
    """Calibration samples, and those that both the report and the judge look at, which are returned."""
    rng = np.random.default_rng(1)
    kept = []
    for part, count in (("calib", SAMPLES), ("held", JUDGED)):
        (folder / part).mkdir()
        for number in range(count):
            sample = model.feed(rng)
            write_npz(folder / part / f"{number:02}.npz", sample)
            kept += [sample] if part == "held" else []
    return kept


def _unguarded(path: Path, dtype: ir.DataType) -> onnx.ModelProto:
    """The model typed by structure alone."""
    model = import_model(path).model
    clean(model)
    HalfPrecision(dtype).apply(model)
    return ir.to_proto(model)


def _judged(folder: Path, typed: onnx.ModelProto, samples: list[dict[str, Array]]) -> float:
    """SQNR of the worst output of ``typed`` in onnx's reference; minus infinity where a value is not finite."""
    reference = ReferenceEvaluator(typed)
    with OnnxRuntimeEngine(folder / "model.onnx") as engine:
        names = [spec.name for spec in engine.outputs]
        noise, signal = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
        for sample in samples:
            wanted = engine.infer(sample)
            with np.errstate(all="ignore"):
                found = dict(zip(names, reference.run(names, sample), strict=True))
            for name in names:
                error = np.asarray(found[name], np.float64) - wanted[name]
                noise[name] += float(np.sum(error**2)) if np.isfinite(error).all() else np.inf
                signal[name] += float(np.sum(wanted[name].astype(np.float64) ** 2))
    return min(sqnr_db(signal[name], noise[name]) if np.isfinite(noise[name]) else -np.inf for name in names)


def _line(row: Judged) -> str:
    return (
        f"| {row.name} | {row.precision} | {row.unguarded:.1f} | {row.judged:.1f} | {row.claimed:.1f} | "
        f"{row.int8_share:.0%} | {row.fp32_nodes} of {row.nodes} | {row.fp32_share:.0%} | {row.target} |"
    )


if __name__ == "__main__":
    main()
