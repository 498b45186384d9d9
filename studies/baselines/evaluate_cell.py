"""The evaluator, the same for every tool, in a process of its own: writes an ``Evaluation`` as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx import TensorProto, numpy_helper

from benchmarks.accuracy.compare import Accuracy, compare
from benchmarks.timing.latency import measure_latency
from engines.engine import Engine, Feed, batchable
from engines.errors import EngineError
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.files import read_json, write_json
from graphs.reading.macs import int8_mac_share
from studies.baselines.results import Evaluation, Quality
from studies.baselines.task import Task, joined, load_task

BATCH = 8  # samples run together


def main() -> None:
    arguments = _arguments()
    task = load_task(arguments.model, arguments.zoo, arguments.cache)
    reference = arguments.zoo / arguments.model / "model.onnx"
    result = evaluate(task, reference, arguments)
    write_json(arguments.out, result)


def evaluate(task: Task, reference: Path, arguments: argparse.Namespace) -> Evaluation:
    """Everything that is measured on one quantized model."""
    quantized, metric_of, quick = arguments.quantized, arguments.metric_of, arguments.quick
    feeds = task.held_back(quick)
    shapes = {name: array.shape for name, array in feeds[0].items()}
    with ExitStack() as stack:
        fp32 = stack.enter_context(OnnxRuntimeEngine(reference))
        engines, failures = _open(quantized, stack)
        chosen = engines.get(metric_of) or next(iter(engines.values()))
        accuracy = compare(fp32, engines, joined(feeds, BATCH) if batchable(fp32.inputs) else feeds)
        latency = _latency(fp32, engines, feeds[0])
        return Evaluation(
            metric_name=task.metric,
            metric=task.score(chosen.infer, fp32.infer, quick),
            fp32_metric=_fp32_metric(task, fp32, arguments),
            metric_of=next(name for name, engine in engines.items() if engine is chosen),
            held_back=len(feeds),
            simulated=_quality(accuracy.get("simulated"), task.output),
            cpu=_quality(accuracy.get("cpu"), task.output),
            int8_mac_share=int8_mac_share(_load_sorted(quantized), shapes),
            symmetric=is_symmetric(onnx.load(quantized).graph),
            fp32_ms=latency["fp32"] if latency else None,
            speedup=latency["fp32"] / latency["cpu"] if latency else None,
            failures=failures,
        )


def _load_sorted(path: Path) -> ir.Model:
    """onnxruntime.quantization leaves nodes out of order where the model has branches."""
    model = ir.load(path)
    model.graph.sort()
    return model


def _fp32_metric(task: Task, fp32: Engine, arguments: argparse.Namespace) -> float:
    """The metric of FP32, measured once for all cells of a model."""
    kept: Path = arguments.cache / f"{arguments.model}.fp32{'.quick' if arguments.quick else ''}.json"
    if not kept.exists():
        write_json(kept, task.score(fp32.infer, fp32.infer, arguments.quick))
    return read_json(kept, float)


def _open(quantized: Path, stack: ExitStack) -> tuple[dict[str, OnnxRuntimeEngine], list[str]]:
    """The quantized model with Q/DQ in float and as the CPU runs it. Raises ``EngineError`` where neither loads."""
    engines: dict[str, OnnxRuntimeEngine] = {}
    failures = []
    for name, fused in (("simulated", False), ("cpu", True)):
        try:
            engines[name] = stack.enter_context(OnnxRuntimeEngine(quantized, fuse_qdq=fused))
        except EngineError as error:
            failures.append(f"{name}: {error}")
    if not engines:
        raise EngineError("; ".join(failures), where=str(quantized))
    return engines, failures


def _latency(fp32: Engine, engines: Mapping[str, Engine], feed: Feed) -> dict[str, float]:
    """Median milliseconds of one sample, FP32 and quantized interleaved; empty where the CPU does not run it."""
    if "cpu" not in engines:
        return {}
    found = measure_latency({"fp32": fp32, "cpu": engines["cpu"]}, feed, seconds=1.5, min_runs=10)
    return {name: latency.p50 for name, latency in found.items()}


def _quality(accuracy: Accuracy | None, output: str) -> Quality | None:
    if accuracy is None:
        return None
    found = accuracy.outputs[output]
    return Quality(found.sqnr_db, found.agreement, found.agreement_kind, found.failure)


def is_symmetric(graph: onnx.GraphProto) -> bool:
    """Whether every QuantizeLinear of the graph and its branches writes int8 with zero point 0.

    Weights stored quantized have no QuantizeLinear; those are int8 and symmetric with every tool compared here.
    """
    return all(_symmetric_node(node, _constants(part)) for part in _graphs(graph) for node in part.node)


def _symmetric_node(node: onnx.NodeProto, constants: Mapping[str, TensorProto]) -> bool:
    if node.op_type != "QuantizeLinear":
        return True
    zero = constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if zero is None:  # without a zero point the type is output_dtype's, uint8 where that is not given
        kind = next((attribute.i for attribute in node.attribute if attribute.name == "output_dtype"), 0)
        return kind == TensorProto.INT8
    return zero.data_type == TensorProto.INT8 and not numpy_helper.to_array(zero).any()


def _constants(graph: onnx.GraphProto) -> dict[str, TensorProto]:
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found.update((node.output[0], attribute.t) for attribute in node.attribute if attribute.name == "value")
    return found


def _graphs(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return [graph, *(found for part in inner for found in _graphs(part))]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("quantized", type=Path)
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--metric-of", choices=("simulated", "cpu"), required=True)
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
