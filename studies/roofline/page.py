"""``docs/roofline.md``: what is predicted, from what, and how far off it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.roofline.kernels import Kernel
from benchmarks.roofline.predict import OFFLINE_BATCH, Efficiency, sustained_clock
from benchmarks.roofline.prediction import Calibration
from engines.targets.boards import GPUS
from engines.targets.target import TARGETS
from studies.roofline.fit import FITTED_GPUS, VARIABLE_LENGTH, Comparison, HeldOut
from studies.roofline.published import SQUAD_LENGTH, WORKLOADS

GOAL = 0.30  # of measured throughput: what the page calls near
_HEAD = """# Roofline: what a GPU that is not here should reach

How fast should a model run on a GPU that this machine does not have? This page shows how that is predicted, and how far
the predictions were off NVIDIA's published results. Every figure under "predicted" is a **prediction**: none is a
measurement of ours, and none is an MLPerf result.

    optimize inspect MODEL.onnx --target a100        # the bound per layer, latency and throughput
    optimize MODEL.onnx --target cpu,t4,a100         # report.json: targets.NAME.prediction

`python -m studies.roofline.calibrate` writes this page; do not edit it.

## The model

First, the typed ONNX graph becomes the kernels that an engine would run:

- Pointwise operators, casts and Q/DQ belong to the kernel before them. So batch normalisation, ReLU, residual additions
  and quantization cost no memory traffic of their own.
- Attention in FP16 or INT8 is one kernel.
- Reshapes and concatenations move nothing.

Then each kernel takes this time, at the dense peak rate of its own type:

    overhead + max(operations / (peak x compute x clock), bytes / (bandwidth x memory))
    clock = (base clock / rated clock) ^ throttle

The first term of `max` is the time for arithmetic, the second that for memory; the larger one is the kernel's bound.
The four factors are the same for every GPU, model and kind of layer:"""
_ASSUMPTIONS = f"""## Assumptions

- **Graphs.** MLCommons' architectures with random weights (`studies/roofline/models/`), BatchNorm folded. INT8 is as
  NVIDIA submitted it; inputs are already INT8 on the GPU, as NVIDIA's harness keeps them. BERT-99 is INT8 throughout,
  attention included; BERT-99.9 is FP16.
- **BERT's length.** It is computed at {SQUAD_LENGTH} tokens, SQuAD v1.1's mean. At 384 tokens 54 % are padding
  (`studies/roofline/published.py`), which NVIDIA's harness removes. The question behind its SingleStream p90 is longer
  than the mean one. So BERT's latencies are shown, but neither fitted nor counted in the error.
- **Offline** is predicted at batch {OFFLINE_BATCH}, batches back to back. Copies over PCIe, image decoding and
  non-maximum suppression are not modelled.
- **Tensor cores.** A convolution's channels are padded to their granularity (32 in INT8, 8 in FP16; three input
  channels to four). Products run in whole waves of 64 x 64 tiles. Depthwise convolutions run on CUDA cores at the FP32
  rate.
- **The fit.** T4 and A100 weigh the same: four boards of one chip are not four observations. `compute` may not exceed
  0.96 nor `memory` 0.90; no GEMM or stream benchmark does.
- **Peak rates and clocks** are in `engines/targets/boards.csv`, each row with its source.

## What it is not

Five benchmarks, two chips and four factors are enough to say whether arithmetic or memory bounds a model, and what
order of throughput to expect. They are not enough to choose between two engines that differ by a fifth.

Likely causes of the errors:

- ResNet-50 is predicted too slow: NVIDIA's submissions fuse its second stage by a plugin of their own
  (RnRes2FullFusion_TRT), which no general engine does.
- SSD-MobileNet is predicted too fast: the suppression of overlapping boxes is not in its graph.
- T4 holds a lower clock in FP16 than these factors say.

Hopper, Ada and Blackwell have no published result in the calibration; predictions for them say so. Kernels of
TensorRT-RTX are not modelled: it leaves INT8 convolutions unfused."""


def page(
    found: Calibration, held: Sequence[HeldOut], all_in: Sequence[Comparison], kernels: Mapping[str, Sequence[Kernel]]
) -> str:
    """The Markdown text. ``all_in`` are predictions of the factors fitted on all models."""
    blocks = [
        _HEAD,
        _factors(found),
        "## Leave-one-out: each model predicted by factors fitted on the other three",
        _verdict(held),
        _held_out(held, "offline"),
        _held_factors(held),
        "## Latency at batch 1, the same way",
        "Against SingleStream p90. The overhead per kernel is fitted on the latencies of the other models.",
        _held_out(held, "singlestream"),
        "## GPUs that no fit has seen",
        "Offline on A10 and A30, with the factors fitted on all models on T4 and A100.",
        _unseen(all_in),
        "## The graphs",
        _graphs(kernels),
        _ASSUMPTIONS,
        "## GPUs with known peak rates",
        _gpus(found.factors),
    ]
    return "\n\n".join(blocks) + "\n"


def _factors(found: Calibration) -> str:
    f = found.factors
    rows = [
        ("compute", f"{f.compute:.2f}", "share of the peak at the clock held, dense products"),
        ("memory", f"{f.memory:.2f}", "share of the datasheet's bandwidth"),
        ("throttle", f"{f.throttle:.2f}", "0: rated clock held under load; 1: down to the base clock"),
        ("overhead", f"{f.overhead:.0f} cycles", "of every kernel, however small"),
    ]
    return (
        _table(("factor", "value", "meaning"), rows)
        + "\n\nEvery prediction carries the largest leave-one-out error on T4 and A100: "
        + f"**{found.throughput_error_percent:.0f} % in throughput, {found.latency_error_percent:.0f} % in latency**."
    )


def _verdict(held: Sequence[HeldOut]) -> str:
    lines = []
    for load in WORKLOADS:
        errors = [found.error for found in _rows(held, "offline") if found.row.benchmark == load.benchmark]
        worst = max(errors, key=abs)
        state = "within" if abs(worst) <= GOAL else "**not** within"
        lines.append(f"- {load.benchmark} ({load.precision}): {state} ±{GOAL:.0%}, worst {worst:+.0%}")
    rows = [abs(found.error) <= GOAL for found in _rows(held, "offline")]
    count = f"{sum(rows)} of {len(rows)} rows are within ±{GOAL:.0%}."
    return "Offline on T4 and four A100 boards:\n\n" + "\n".join(lines) + f"\n\n{count}"


def _rows(held: Sequence[HeldOut], scenario: str) -> Iterator[Comparison]:
    for model in held:
        for found in model.comparisons:
            if found.row.scenario == scenario and found.row.gpu in FITTED_GPUS:
                yield found


def _held_out(held: Sequence[HeldOut], scenario: str) -> str:
    unit = "samples/s" if scenario == "offline" else "ms"
    rows = [
        (
            found.row.benchmark,
            found.row.gpu,
            found.row.round,
            _figure(found.row.value),
            _figure(found.predicted),
            f"{found.error:+.0%}" + (" (mean length)" if _shown_only(found) else ""),
        )
        for found in _rows(held, scenario)
    ]
    return _table(("benchmark", "GPU", "round", f"published {unit}", f"predicted {unit}", "error"), rows)


def _shown_only(found: Comparison) -> bool:
    return found.row.scenario == "singlestream" and found.row.benchmark in VARIABLE_LENGTH


def _held_factors(held: Sequence[HeldOut]) -> str:
    rows = [
        (
            model.model,
            f"{model.factors.compute:.2f}",
            f"{model.factors.memory:.2f}",
            f"{model.factors.throttle:.2f}",
            f"{model.factors.overhead:.0f}",
        )
        for model in held
    ]
    return _table(("factors without", "compute", "memory", "throttle", "overhead"), rows)


def _unseen(all_in: Sequence[Comparison]) -> str:
    rows = [
        (found.row.benchmark, found.row.gpu, _figure(found.row.value), _figure(found.predicted), f"{found.error:+.0%}")
        for found in all_in
        if found.row.scenario == "offline" and found.row.gpu not in FITTED_GPUS
    ]
    return _table(("benchmark", "GPU", "published samples/s", "predicted samples/s", "error"), rows)


def _graphs(kernels: Mapping[str, Sequence[Kernel]]) -> str:
    rows = [
        (
            load.benchmark,
            load.precision,
            f"{sum(kernel.macs for kernel in kernels[load.benchmark]) / 1e9:,.2f}",
            f"{sum(kernel.activation_bytes for kernel in kernels[load.benchmark]) / 1e6:,.1f}",
            f"{sum(kernel.weight_bytes for kernel in kernels[load.benchmark]) / 1e6:,.1f}",
            str(len(kernels[load.benchmark])),
        )
        for load in WORKLOADS
    ]
    return _table(("benchmark", "precision", "GMACs", "MB moved per sample", "MB of weights", "kernels"), rows)


def _gpus(factors: Efficiency) -> str:
    targets: dict[str, list[str]] = {}
    for target in TARGETS.values():
        targets.setdefault(target.board, []).append(target.name)
    rows = [
        (
            gpu.name,
            ", ".join(targets.get(gpu.name, [])) or "-",
            *(f"{value:g}" if value else "-" for value in (gpu.int8, gpu.fp8, gpu.fp16, gpu.tf32, gpu.fp32)),
            f"{gpu.bandwidth:g}",
            f"{sustained_clock(gpu, factors.throttle):.0%} of {gpu.rated_mhz}",
            gpu.source,
        )
        for gpu in GPUS.values()
    ]
    head = ("GPU", "stands for target", "INT8", "FP8", "FP16", "TF32", "FP32", "GB/s", "clock held, MHz", "source")
    return "Dense TOPS and TFLOPS. The clock held is the model's, not a measurement.\n\n" + _table(head, rows)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
