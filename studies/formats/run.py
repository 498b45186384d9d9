"""The tables of docs/formats.md: ``python -m studies.formats.run --zoo ZOO --out DIR``.

``ZOO`` is a folder as ``studies.baselines.fetch`` leaves it. Rows are written to ``DIR/formats.json`` as they come, and
those that are there are not made again; the tables are printed, in Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from graphs.files import read_json, write_json
from optimizer.importing import import_model
from optimizer.quantization.observing.sampling import spread
from optimizer.settings.options import Precision
from studies.baselines.task import load_task
from studies.formats import real_models, weights_alone
from studies.formats.decoder import make_decoder, make_samples

MODELS = ("mobilenet_v2", "minilm", "yolov3_tiny")
PRECISIONS = (Precision.FP8, Precision.INT8, Precision.NVFP4, Precision.MXFP8)
DECODER = "decoder"
CALIBRATION, UNSEEN = 128, 24
"""Samples of MiniLM and of the decoder that weights are rounded for, and that they are judged on."""


@dataclass(frozen=True)
class Found:
    real: list[real_models.Row] = field(default_factory=list)
    alone: list[weights_alone.Row] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    asked = _parser().parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    kept = asked.out / "formats.json"
    found = read_json(kept, Found) if kept.exists() else Found()
    for model in asked.models:
        if model not in {row.model for row in found.alone} and model in (DECODER, "minilm"):
            found = replace(found, alone=[*found.alone, *_alone(model, asked)])
            write_json(kept, found)
        for precision in () if model == DECODER else map(Precision, asked.precisions):
            if (model, precision.value) in {(row.model, row.precision) for row in found.real}:
                continue
            task = load_task(model, asked.zoo, asked.out)
            row = real_models.judge(
                model, asked.zoo / model / "model.onnx", task, precision, asked.out / model, asked.quick
            )
            found = replace(found, real=[*found.real, row])
            write_json(kept, found)
    print(tables(found))


def _alone(model: str, asked: argparse.Namespace) -> list[weights_alone.Row]:
    if model == DECODER:
        return weights_alone.compare_ways(
            model, make_decoder(), make_samples(CALIBRATION), make_samples(UNSEEN, seed=2)
        )
    task = load_task(model, asked.zoo, asked.out)
    float_graph = import_model(asked.zoo / model / "model.onnx").model
    return weights_alone.compare_ways(
        model, float_graph, task.calibration(asked.quick)[:CALIBRATION], spread(task.held_back(asked.quick), UNSEEN)
    )


def tables(found: Found) -> str:
    """Both tables in Markdown."""
    alone = [(row.model, row.way, f"{row.sqnr_db:.1f}", f"{row.megabytes:.2f}") for row in found.alone]
    real = [
        (
            row.model,
            row.precision,
            f"{row.value:.4f}",
            f"{100 * (row.value - row.fp32):+.2f}",
            "–" if row.sqnr_db is None else f"{row.sqnr_db:.1f}",
            f"{row.quantized:.0%}",
            *(row.plans.get(target, "–") for target in real_models.BUILT_FOR),
        )
        for row in found.real
    ]
    heads = (
        ("model", "weights", "SQNR, dB", "MB"),
        (
            *("model", "precision", "metric", "points beside FP32", "SQNR, dB", "MACs"),
            *("plan, SM89", "plan, SM120"),
        ),
    )
    return "\n\n".join((_table(heads[0], alone), _table(heads[1], real)))


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--zoo", type=Path, required=True, help="folder with MODEL/model.onnx and its data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=[DECODER, *MODELS], choices=[DECODER, *MODELS])
    parser.add_argument("--precisions", nargs="+", default=[precision.value for precision in PRECISIONS])
    parser.add_argument("--quick", action="store_true", help="few samples, to see that it runs")
    return parser


if __name__ == "__main__":
    main()
