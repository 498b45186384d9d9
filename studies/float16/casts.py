"""Casts and correctness in FP16 beside a plain converter, ONNX Runtime's (``onnxruntime.transformers.float16``).

    python -m studies.float16.casts [NAME ...]

Every model is typed by both, inputs and outputs kept, and judged by ``onnx.reference`` in real
float16 on samples that neither has seen. SQNR in dB against FP32; minus infinity: not finite.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from benchmarks.accuracy.compare import sqnr_db
from calibration.source import batches
from engines.engine import Feed
from graphs.reading.macs import count_macs
from optimizer.importing.load import import_model
from optimizer.passes.clean import clean
from optimizer.settings.options import Precision
from optimizer.typed.graph import GraphTyper
from studies.float16.models import MODELS, Array
from studies.float16.transformer import sample, transformer

SAMPLES, JUDGED = 32, 8  # to watch ranges on, and held back


@dataclass(frozen=True)
class Row:
    """``casts`` of the typed graph, its SQNR in real float16; ``wide`` of ``nodes`` stay FP32; then the plain one."""

    name: str
    casts: int
    sqnr_db: float
    wide: int
    nodes: int
    plain_casts: int
    plain_db: float


def row(name: str, model: onnx.ModelProto, feed: Callable[[np.random.Generator], dict[str, Array]]) -> Row:
    """Type ``model`` both ways and judge both."""
    rng = np.random.default_rng(1)
    seen, judged = ([feed(rng) for _ in range(count)] for count in (SAMPLES, JUDGED))
    typed, wide, nodes = _ours(model, seen)
    plain = _plain(model)
    return Row(
        name,
        _casts(typed),
        _judge(model, typed, judged),
        wide,
        nodes,
        _casts(plain),
        _judge(model, plain, judged),
    )


def _ours(model: onnx.ModelProto, feeds: Sequence[Feed]) -> tuple[onnx.ModelProto, int, int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        graph = import_model(path).model
        clean(graph)
        costs = count_macs(graph, {name: array.shape for name, array in feeds[0].items()})

        def joined(_: int) -> Iterator[Feed]:
            return batches(feeds, 1, ())

        macs = {name: cost.macs for name, cost in costs.items() if cost.macs}
        found = GraphTyper(graph, Precision.FP16, joined, macs).typed(None)
        wide = sum(node.dtype.value == "fp32" for node in found.plan.nodes.values())
        return ir.to_proto(found.model), wide, len(found.plan.nodes)


def _plain(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = onnx.ModelProto.FromString(model.SerializeToString())
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = ir.from_proto(convert_float_to_float16(copy, keep_io_types=True))
    converted.graph.sort()  # its Casts stand where they were appended
    found: onnx.ModelProto = ir.to_proto(converted)
    return found


def _casts(model: onnx.ModelProto) -> int:
    return sum(node.op_type == "Cast" for node in model.graph.node)


def _judge(given: onnx.ModelProto, typed: onnx.ModelProto, feeds: Sequence[Feed]) -> float:
    """SQNR of the worst output, in dB; minus infinity where a value is not finite, or the graph is refused."""
    names = [value.name for value in given.graph.output]
    try:
        wanted, found = ReferenceEvaluator(given), ReferenceEvaluator(typed)
        worst = math.inf
        with np.errstate(all="ignore"):
            answers = [(_run(wanted, names, feed), _run(found, names, feed)) for feed in feeds]
    except (RuntimeError, TypeError, ValueError):
        return -math.inf
    for index in range(len(names)):
        pairs = [(np.asarray(a[index], np.float64), np.asarray(b[index], np.float64)) for a, b in answers]
        noise = sum(float(((a - b) ** 2).sum()) for a, b in pairs)
        signal = sum(float((a**2).sum()) for a, _ in pairs)
        worst = min(worst, sqnr_db(signal, noise) if math.isfinite(noise) else -math.inf)
    return worst


def _run(evaluator: ReferenceEvaluator, names: list[str], feed: Feed) -> list[Any]:
    return list(evaluator.run(names, dict(feed)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="parts of names; all models without")
    asked = parser.parse_args()
    models: list[tuple[str, onnx.ModelProto, Callable[[np.random.Generator], dict[str, Array]]]]
    models = [("a transformer with planted overflows", transformer(), sample)]
    models += [(model.name, model.build(), model.feed) for model in MODELS]
    rows = []
    print("| model | casts | SQNR | FP32 nodes | plain converter: casts | SQNR |\n|---|---|---|---|---|---|")
    for name, model, feed in models:
        if not asked.names or any(part in name for part in asked.names):
            rows.append(found := row(name, model, feed))
            print(
                f"| {found.name} | {found.casts} | {_db(found.sqnr_db)} | {found.wide} of {found.nodes} | "
                f"{found.plain_casts} | {_db(found.plain_db)} |",
                flush=True,
            )
    lost = sum(found.plain_db < 20 for found in rows)
    print(
        f"\n{len(rows)} models: {sum(found.casts for found in rows)} casts, all above "
        f"{min(found.sqnr_db for found in rows):.1f} dB; plain converter {sum(found.plain_casts for found in rows)} "
        f"casts, {lost} models below 20 dB or not finite"
    )


def _db(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "−inf"


if __name__ == "__main__":
    main()
