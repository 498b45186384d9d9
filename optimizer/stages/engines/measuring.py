"""Measuring a GPU's engine: every form that was checked timed in turns, and the one that ships chosen and placed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.batching import smallest_feed
from benchmarks.measurement import Throughput, utc_now
from benchmarks.memory import engine_memory
from benchmarks.timing.child import FormTimes, time_in_child
from benchmarks.timing.engine_costs import engine_costs
from benchmarks.timing.op_times import OpTime
from benchmarks.timing.quantized_costs import QuantizedCosts
from engines.engine import Feed
from engines.layers import LayerInfo
from engines.manifest import EngineManifest
from engines.profile import ShapeProfile
from engines.targets.gpus_here import used_gpu
from graphs.files import link_or_copy
from graphs.staging import staged
from optimizer.attempt import attempt
from optimizer.precision import PrecisionPlan
from optimizer.stages.engines.candidates import Candidates
from optimizer.stages.engines.checking import EngineChecks
from optimizer.stages.engines.record import EngineRecord, FormRecord, choose_form, gains, int8_native
from optimizer.stages.forms.typed_forms import TypedForm

SECONDS = 1.0
"""How long each form is timed, for latency and for throughput, as on the CPU. Chosen."""


@dataclass(frozen=True)
class Measured:
    """The form that ships, and its record; None where no form ran, and ``reason`` then says why in a line."""

    form: str
    record: EngineRecord | None
    reason: str = ""


def measure(
    found: Candidates, checked: EngineChecks, feed: Feed, profile: ShapeProfile, asked_only: bool, out: Path | None
) -> Measured:
    """Time the forms that ran on ``feed``, choose one and put its engine into the folder ``out`` (None: nowhere).

    A form that is over the accuracy budget, or did not run, cannot ship where another can; ``asked_only``: the one
    asked for ships if it runs.
    """
    ran = {form: found.built[form].engine for form in found.built if form in checked.checks}
    if not ran:
        form = found.asked if found.asked in found.built else next(reversed(found.built))
        _place(found.built[form].engine, out)
        return Measured(form, None, checked.failed[form])
    gpu, feed = used_gpu(), smallest_feed(feed, EngineManifest.load(next(iter(ran.values()))))
    times = time_in_child(ran, feed, profile, gpu.index if gpu is not None else None, seconds=SECONDS)
    form, why = _choice(found, checked, times, asked_only, gpu.name if gpu is not None else "GPU")
    _place(found.built[form].engine, out)
    engine = found.built[form].engine
    memory, notes = attempt("memory of the engine", lambda: engine_memory(str(engine), feed), None)
    notes += [f"{name.upper()} {reason}" for name, reason in times.failed.items()]
    record = EngineRecord(
        form,
        why,
        times.batch,
        times.latency,
        times.throughput,
        _by_kind(times.layers.get(form, {}), EngineManifest.load(engine).layers),
        times.steadiness,
        times.energy.get(form),
        memory,
        [*notes, *times.notes],
        {name: _form_record(name, found, checked, times) for name in (*found.built, *found.refused)},
        quantized_costs=_quantized_costs(found, times, form),
        measured_at=utc_now(),
    )
    return Measured(form, record)


def _quantized_costs(found: Candidates, times: FormTimes, kept: str) -> QuantizedCosts | None:
    """What the form asked for costs beside the one that was ``kept`` for its speed; None where it was kept itself, or
    its library tells no times of layers.
    """
    asked = found.asked
    if kept == asked or not times.layers.get(asked) or not times.layers.get(kept):
        return None
    tables = {form: EngineManifest.load(found.built[form].engine).layers for form in (asked, kept)}
    return engine_costs(times.layers[asked], tables[asked], times.layers[kept], tables[kept])


def _form_record(name: str, found: Candidates, checked: EngineChecks, times: FormTimes) -> FormRecord:
    failed = found.refused.get(name) or checked.failed.get(name) or times.failed.get(name, "")
    if name not in found.built:
        return FormRecord(failed=failed)
    manifest, check = EngineManifest.load(found.built[name].engine), checked.checks.get(name)
    return FormRecord(
        accuracy=check.accuracy if check is not None else None,
        task=check.task if check is not None else None,
        energy=times.energy.get(name),
        device=times.device.get(name),
        device_batch=times.device_batch.get(name),
        int8_native=int8_native(found.built[name].plan, manifest.layers),
        engine_bytes=manifest.bytes,
        build_seconds=manifest.build_seconds,
        failed=failed,
        first_difference=checked.first_difference if name == found.asked else None,
    )


def _by_kind(milliseconds: Mapping[str, float], layers: Sequence[LayerInfo]) -> list[OpTime]:
    """The profile of an engine's layers, summed by the kind that its table says; a layer that is not there by name."""
    kinds = {layer.name: layer.kind for layer in layers}
    total, calls = dict[str, float](), Counter[str]()
    for name, spent in milliseconds.items():
        kind = kinds.get(name, name)
        total[kind] = total.get(kind, 0.0) + spent
        calls[kind] += 1
    return sorted((OpTime(kind, spent, calls[kind]) for kind, spent in total.items()), key=lambda op: -op.milliseconds)


def _choice(found: Candidates, checked: EngineChecks, times: FormTimes, asked_only: bool, gpu: str) -> tuple[str, str]:
    """The form that ships and why. Where all that ran are over the budget, the one asked for, or else the nearest."""
    place = f"this {gpu}"
    refused = refusals(found, checked, place)
    refused |= {form: f"{form.upper()} could not be timed on {place}: {why}" for form, why in times.failed.items()}
    forms = [*(form for form in found.built if form != found.asked), found.asked]
    if asked_only and found.asked in checked.checks:
        return found.asked, f"{found.asked} was asked for"
    if all(form in refused for form in forms):
        ran = list(checked.checks)
        form = found.asked if found.asked in ran else ran[-1]
        return form, refused[found.asked] if found.asked in refused else refused[form]
    computed = _computed(times)
    if not computed:
        return choose_form(forms, times.throughput, refused, place)
    form, why = choose_form(forms, computed, refused, place)
    if found.asked in refused or len(computed) < 2:
        return form, why
    others = [other for other in reversed(forms[:-1]) if other in computed]
    return form, f"{why}, by its kernels alone; {gains(times.throughput, found.asked, others)} fed from host memory"


def _computed(times: FormTimes) -> dict[str, Throughput]:
    """Samples per second that the GPU computes, by form: what the choice of a form changes. Copies and whoever feeds
    the engine are the same for all of them, hide the difference where they take longer, and may not be there where it
    is deployed. Empty where a form that was timed does not tell it.
    """
    if not times.throughput or times.throughput.keys() - times.device_batch.keys():
        return {}
    found = ((form, times.device_batch[form]) for form in times.throughput)
    return {
        form: Throughput(1e3 * times.batch / device.compute_ms, times.batch, device.n, 0.0) for form, device in found
    }


def refusals(found: Candidates, checked: EngineChecks, place: str) -> dict[str, str]:
    """Of every form that cannot ship: why."""
    refused = dict(found.refused)
    refused |= {form: f"{form.upper()} does not run on {place}: {why}" for form, why in checked.failed.items()}
    over = {form: check.reasons for form, check in checked.checks.items() if not check.ok}
    return refused | {
        form: f"{form.upper()} on {place} is over the accuracy budget: {'; '.join(why)}" for form, why in over.items()
    }


def _place(engine: Path, out: Path | None) -> None:
    """The folder of an engine a second time, without its bytes where the file system can."""
    if out is None:
        return
    with staged(out) as folder:
        for file in engine.iterdir():
            link_or_copy(file, folder / file.name)


def shipped_form(found: Candidates, measured: Measured, checked: EngineChecks) -> TypedForm | None:
    """The form that ships, judged by its engine; None where no engine ran. Where it is a sibling of the one asked for,
    its plan says why of every node that runs in another precision.
    """
    if measured.record is None:
        return None
    chosen = found.built[measured.form]
    plan = chosen.plan
    if measured.form != found.asked:
        plan = _explained(plan, found.plan, measured.record.why)
    return TypedForm(chosen.path, plan, chosen.int8_mac_share, checked.checks[measured.form], chosen.table)


def _explained(plan: PrecisionPlan, asked: PrecisionPlan, why: str) -> PrecisionPlan:
    wanted = {name: node.dtype for name, node in asked.nodes.items()}
    nodes = {
        name: replace(node, reason=why) if wanted.get(name, node.dtype) is not node.dtype else node
        for name, node in plan.nodes.items()
    }
    return PrecisionPlan(nodes, plan.notes)
