"""The texts of a submission folder: user.conf, mlperf.conf, measurements, README, calibration, code notes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.loadgen.log import DetailLog
from benchmarks.loadgen.settings import SCENARIO_NAMES, LoadgenResult, Scenario
from benchmarks.submission.request import UNVERIFIED, SubmissionRequest, Weights
from engines.manifest import EngineManifest

SEEDS = ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed")
_USER_KEYS = {
    Scenario.SINGLE_STREAM: ("min_duration_ms", "min_query_count"),
    Scenario.MULTI_STREAM: ("min_duration_ms", "min_query_count", "samples_per_query"),
    Scenario.SERVER: ("target_qps", "target_latency_ns", "min_duration_ms", "min_query_count"),
    Scenario.OFFLINE: ("target_qps", "min_duration_ms", "min_query_count"),
}
_CONF_NAMES = {"min_duration_ms": "min_duration", "target_latency_ns": "target_latency"}


def user_conf(scenario: Scenario, log: DetailLog) -> str:
    """The settings the performance run was started with, as LoadGen itself logged them (milliseconds, queries/s)."""
    name = SCENARIO_NAMES[scenario]
    lines = [f"# As LoadGen logged it in the performance run. {UNVERIFIED}"]
    for key in _USER_KEYS[scenario]:
        value = log.number(f"effective_{key}")
        if value is not None:
            shown = value / 1e6 if key.endswith("_ns") else value
            lines.append(f"*.{name}.{_CONF_NAMES.get(key, key)} = {shown:.10g}")
    return "\n".join(lines) + "\n"


def mlperf_conf(task: str, official: str, log: DetailLog) -> str:
    """The part of the configuration a submitter may not change: seeds and the number of samples in memory."""
    origin = (
        f"LoadGen's compiled-in configuration of {official}"
        if official
        else f"LoadGen's compiled-in seeds; {task} is a task of its own with no official configuration"
    )
    lines = [f"# {origin}. {UNVERIFIED}"]
    lines += [f"*.*.{seed} = {log.values.get(f'effective_{seed}', '')}" for seed in SEEDS]
    lines.append(f"{task}.*.performance_sample_count_override = {log.values.get('effective_performance_sample_count')}")
    return "\n".join(lines) + "\n"


def measurements(weights: Weights) -> dict[str, str]:
    """The five fields a measurements file must have."""
    return {
        "input_data_types": weights.input_types,
        "retraining": weights.retraining,
        "starting_weights_filename": weights.filename,
        "weight_data_types": weights.weight_types,
        "weight_transformations": weights.transformations,
    }


def weights_of(engine: EngineManifest, model: str, precisions: Mapping[str, int], notes: list[str]) -> Weights:
    """From an engine and the precision plan: node counts per dtype, and what was done to the graph."""
    used = [f"{dtype} ({count} nodes)" for dtype, count in precisions.items() if count]
    quantized = bool(precisions.get("int8"))
    done = ["post-training quantization from the model as given", *notes[:20]] if quantized else []
    if engine.sparse_weights:
        done.append("2:4 magnitude pruning without retraining (open division only)")
    return Weights(
        filename=model,
        input_types=", ".join(sorted({spec.dtype for spec in engine.inputs})),
        weight_types=", ".join(used) or engine.precision,
        transformations="; ".join(done) or "none",
    )


def readme(request: SubmissionRequest, engine: EngineManifest, scenario: Scenario, run: LoadgenResult) -> str:
    """How to run this measurement again."""
    return f"""# {request.task}, {SCENARIO_NAMES[scenario]}, on {request.system}

**{UNVERIFIED}**

Division: {request.division}. Engine: {engine.backend} {engine.backend_version}, {engine.precision}.
Batches: {run.batch}.

Set up: `pip install enginewright`. Make the bundle with `optimize MODEL.onnx`, then this folder with

    optimize submission BUNDLE -o FOLDER --evaluate FILE.py:FUNCTION --scenario {scenario.value} \\
        --duration {request.duration_s:g} --division {request.division} --submitter {request.submitter}

The samples LoadGen sends are those the evaluation function asks for, in its order; the metric in `accuracy.txt` is that
function's over the answers in LoadGen's accuracy log.
"""


def calibration(details: Mapping[str, str]) -> str:
    """How ranges were found; AsciiDoc, as the rules ask."""
    if not details:
        return f"= Calibration\n\n{UNVERIFIED}\n\nNothing was quantized: the engine computes in floating point.\n"
    rows = "\n".join(f"{key}:: {value}" for key, value in details.items() if value)
    return f"""= Calibration

{UNVERIFIED}

Post-training, no retraining: one streaming pass of the float model over the calibration samples collects ranges of
activations; weights are quantized per channel, symmetric, from the weights themselves.

{rows}
"""


def code_notes(task: str, weights: Weights) -> str:
    """What stands in ``code/TASK``."""
    return f"""# {task}

The implementation is the package `enginewright` (Apache-2.0); nothing here is copied. Weights: `{weights.filename}`.
{UNVERIFIED}
"""


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
