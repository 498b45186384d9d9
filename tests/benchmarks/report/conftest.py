"""A made-up report of realistic size and spread. None of its numbers was measured."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.accuracy.task_metric import TaskAccuracy
from benchmarks.loadgen.settings import LoadgenResult, Mode, Scenario
from benchmarks.measurement import Verdict, summarize_latency
from benchmarks.report.extras import DriftRow, Extras, NodeRow
from benchmarks.report.model import (
    AccuracySummary,
    LoadgenSummary,
    ModelSummary,
    OutputFidelity,
    Percentiles,
    Plaster,
    PlasterFigure,
    PrecisionSummary,
    Report,
    TargetSummary,
)
from benchmarks.timing.op_times import OpTime
from engines.layers import LayerInfo

_CHANNELS = (32, 16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320)


def _nodes() -> list[NodeRow]:
    rows = [NodeRow("/features/0/Conv", "Conv", "int8", "weighted op: input and weight quantized", 10_838_016)]
    size = 112
    for block, channels in enumerate(_CHANNELS, start=1):
        size = max(7, size // 2) if block in (2, 4, 7, 14) else size
        base = f"/features/{block}"
        macs = channels * size * size
        rows.append(
            NodeRow(f"{base}/expand/Conv", "Conv", "int8", "weighted op: input and weight quantized", macs * 24)
        )
        depth = "fp16" if block in (1, 17) else "int8"
        why = "kept: INT8 here costs 6.1 dB at the output" if depth == "fp16" else "depthwise: per-channel scales"
        rows.append(NodeRow(f"{base}/depthwise/Conv", "Conv", depth, why, macs * 54))
        rows.append(
            NodeRow(f"{base}/project/Conv", "Conv", "int8", "weighted op: input and weight quantized", macs * 96)
        )
        if channels == _CHANNELS[block - 2]:
            rows.append(NodeRow(f"{base}/Add", "Add", "int8", "residual: one branch quantized"))
    rows.append(NodeRow("/pool/GlobalAveragePool", "GlobalAveragePool", "int8", "follows its input's range"))
    rows.append(NodeRow("/classifier/Gemm", "Gemm", "int8", "weighted op: input and weight quantized", 1_280_000))
    rows.append(NodeRow("/Softmax", "Softmax", "fp32", "exponential: overflows below FP32"))
    return rows


def _drift(nodes: list[NodeRow]) -> list[DriftRow]:
    rng = np.random.default_rng(0)
    level = 46.0
    rows = []
    for index, node in enumerate(nodes):
        level -= float(rng.exponential(0.22)) + (5.5 if index == 20 else 3.2 if index == 47 else 0.0)
        level += float(rng.exponential(0.1))
        rows.append(DriftRow(node.name, node.op_type, round(level, 2), round(1 - 10 ** (-level / 10) / 2, 6)))
    return rows


def _layers(nodes: list[NodeRow]) -> list[LayerInfo]:
    rows = []
    for index, node in enumerate(nodes):
        kind = {"Conv": "CaskConvolution", "Gemm": "CaskGemm"}.get(node.op_type, "PointWise")
        dtype = "float16" if index == 31 or node.dtype != "int8" else "int8"
        name = f"{node.name} + /features/{index}/Relu6"
        rows.append(LayerInfo(name, kind, (dtype,), (), (dtype,), "sm75_xmma_fprop_0x2f", (node.name,)))
    return rows


def _plaster() -> Plaster:
    return Plaster(
        programmability=PlasterFigure(
            1.0, "of ops ran natively", "66 of 66 nodes in one engine, no flags beyond --data"
        ),
        latency=PlasterFigure(7.91, "ms at p99", "cpu, batch 1, 512 queries after warm-up"),
        accuracy=PlasterFigure(
            0.0031, "relative drop of top-1", "10,000 labelled images; 95 % interval 0.0012 to 0.0050"
        ),
        size=PlasterFigure(3.61, "MiB", "engine file on cpu; FP32 is 13.3 MiB"),
        throughput=PlasterFigure(412.0, "samples per second", "LoadGen Offline on cpu"),
        energy=PlasterFigure(None, "inferences/J", "no NVML device and no readable RAPL counter on this machine"),
        rate_of_learning=PlasterFigure(71.4, "s", "new weights to serving engine, cold cache"),
    )


def _targets() -> dict[str, TargetSummary]:
    simulated = {
        "logits": OutputFidelity(0.99941, 29.3, 0.71, 0.9712, "same arg-max"),
        "features": OutputFidelity(0.99902, 27.1, 0.94),
    }
    own = {
        "logits": OutputFidelity(0.99963, 31.4, 0.52, 0.9744, "same arg-max"),
        "features": OutputFidelity(0.99931, 28.6, 0.83),
    }
    return {
        "cpu": TargetSummary(
            "onnxruntime",
            "measured",
            engine="engines/cpu/model.onnx",
            engine_bytes=3_785_441,
            build_seconds=1.9,
            latency_ms=Percentiles(4.12, 4.71, 7.91),
            throughput=398.0,
            speedup_vs_fp32=2.17,
            kept_precision="int8",
            why="INT8 is 2.17× FP32 in the same run",
            title="Intel Xeon, 2 cores",
            batch=8,
            accuracy=own,
            accuracy_how="measured",
            fp32_latency_ms=Percentiles(9.32, 10.2, 14.9),
            fp32_throughput=183.4,
            fp32_bytes=13_953_024,
        ),
        "t4": TargetSummary(
            "tensorrt",
            "built",
            "no T4 in this machine",
            "engines/t4/engine.plan",
            5_193_216,
            38.2,
            kept_precision="int8",
            title="NVIDIA T4 (Turing)",
            next_command="optimize bench mobilenetv2.optimized --target t4",
            accuracy=simulated,
            accuracy_how="simulated in ONNX Runtime",
            accuracy_simulated=True,
        ),
        "a100": TargetSummary(
            "tensorrt",
            "built",
            "no A100 in this machine",
            "engines/a100/engine.plan",
            4_871_012,
            41.7,
            kept_precision="int8",
            title="NVIDIA A100 (Ampere)",
            next_command="optimize bench mobilenetv2.optimized --target a100",
            accuracy=simulated,
            accuracy_how="simulated in ONNX Runtime",
            accuracy_simulated=True,
        ),
        "h100": TargetSummary(
            "tensorrt", "skipped", "TensorRT needs an H100 to build for it", title="NVIDIA H100 (Hopper)"
        ),
    }


def _loadgen() -> dict[str, dict[str, LoadgenSummary]]:
    single = LoadgenResult(
        Scenario.SINGLE_STREAM, Mode.PERFORMANCE, True, "p90 latency", 4.83, "ms",
        notes=["early stopping met"], p50=4.15, p90=4.77, p99=8.02, samples=1204, queries=1204, duration_s=5.1,
    )  # fmt: skip
    offline = LoadgenResult(
        Scenario.OFFLINE, Mode.PERFORMANCE, False, "throughput", 412.0, "samples/s",
        reasons=["The run lasted 7.1 s, the settings ask for 10 s: raise --duration."], notes=["batch 8 probed best"],
        samples=2925, queries=1, duration_s=7.1, batch=8, batch_histogram={"8": 365, "5": 1},
    )  # fmt: skip
    return {
        "cpu": {
            "singlestream": LoadgenSummary.of(single, "loadgen/cpu/singlestream"),
            "offline": LoadgenSummary.of(offline, "loadgen/cpu/offline"),
        }
    }


@pytest.fixture
def report() -> Report:
    nodes = _nodes()
    return Report(
        status="partial",
        verdict=Verdict(
            True, ("top-1 dropped by 0.31 %, the budget is 1 %", "h100 was skipped: no builder for it here")
        ),
        calibrated=True,
        model=ModelSummary(
            "mobilenetv2-12",
            "c0c3f76d93fa3fd6580652a45618618a220fced18babf65774ed169de0432ad5",
            3_539_138,
            601_600_000,
            13_964_571,
        ),
        precision=PrecisionSummary.of("int8", [node.dtype for node in nodes], 0.937),
        accuracy=AccuracySummary(
            500,
            {
                "logits": OutputFidelity(0.99963, 31.4, 0.52, 0.9744, "same arg-max"),
                "features": OutputFidelity(0.99931, 28.6, 0.83),
            },
            TaskAccuracy("top-1", 0.7184, 0.7162, 0.0022, (0.0009, 0.0035), 10_000),
            0.01,
            "crops/",
        ),
        targets=_targets(),
        loadgen=_loadgen(),
        plaster=_plaster(),
        timings={
            "import": 0.8,
            "calibrate": 14.1,
            "plan": 2.2,
            "build cpu": 1.9,
            "build t4": 38.2,
            "build a100": 41.7,
            "accuracy": 9.6,
            "loadgen": 12.4,
        },
        peak_rss_mb=913.4,
        created="2026-11-22 12:20 UTC",
        command="optimize mobilenetv2-12.onnx --target cpu,t4,a100,h100 --data crops/ --evaluate top1.py:evaluate",
        calibration={
            "method": "auto: entropy won on 31 tensors, minmax on 22",
            "samples": "512 from crops/",
            "data": "sha256 9f31c06e22aa",
            "ranges": "symmetric, per channel for weights",
        },
        machine={
            "CPU": "Intel Xeon, 2 cores",
            "memory": "15.6 GiB",
            "GPU": "none found",
            "system": "Linux 6.1, Python 3.11.7",
        },
        versions={
            "enginewright": "0.1.0",
            "onnxruntime": "1.23.0",
            "tensorrt-rtx": "1.7.0",
            "mlcommons-loadgen": "6.0.17",
        },
        warnings=["The latency of cpu varied by 12 % between repeats; close other programs for steadier numbers."],
    )


@pytest.fixture
def extras() -> Extras:
    rng = np.random.default_rng(1)
    nodes = _nodes()
    int8 = 1e-3 * (4.0 + rng.gamma(2.0, 0.18, 512) + (rng.random(512) > 0.985) * rng.random(512) * 5)
    fp32 = 1e-3 * (9.0 + rng.gamma(2.0, 0.3, 512) + (rng.random(512) > 0.985) * rng.random(512) * 7)
    times = [
        OpTime("QLinearConv", 3.1, 52),
        OpTime("QuantizeLinear", 0.42, 3),
        OpTime("QLinearAdd", 0.31, 10),
        OpTime("QGemm", 0.11, 1),
        OpTime("Softmax", 0.02, 1),
    ]
    return Extras(
        nodes=nodes,
        drift=_drift(nodes),
        latencies={"cpu": {"int8": summarize_latency(int8), "fp32": summarize_latency(fp32)}},
        op_times={"cpu": times},
        layers={"t4": _layers(nodes), "a100": _layers(nodes)[:30]},
    )
