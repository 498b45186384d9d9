"""What LoadGen's searches found of an engine (``optimize bench --search``): where a Triton configuration starts from.

Only searches count: another run tries one instance, and takes the batch that was fastest in a short probe. No bundle's
own report holds one, so a user hands them over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.loadgen.settings import Scenario
from benchmarks.report.model import LoadgenSummary, Report, read_report
from graphs.errors import BadInput

REPORT = "report.json"


@dataclass(frozen=True)
class Found:
    """A value, and the measurement that it is from, in words."""

    value: int
    why: str


@dataclass(frozen=True)
class Searched:
    """Of one engine: how many ``instances`` at once served most, the ``batch`` that they took, and the microseconds
    that a free one waits for more requests (``delay``); None where no search tells."""

    instances: Found | None = None
    batch: Found | None = None
    delay: Found | None = None


def searches(bundle: Path, files: Sequence[Path]) -> dict[str, Searched]:
    """By target, of ``files``, what ``optimize bench BUNDLE --search --json`` printed; later ones go before earlier
    ones.

    Raises ``BadInput`` for a file that is no such document, holds no valid search, or is of another model.
    """
    own = read_report(bundle / REPORT) if files and (bundle / REPORT).is_file() else None
    runs: dict[str, dict[str, LoadgenSummary]] = {}
    for report in [_bench_report(file, own) for file in files]:
        for target, found in report.loadgen.items():
            runs.setdefault(target, {}).update({name: run for name, run in found.items() if _counts(run)})
    return {target: _searched(found) for target, found in runs.items() if found}


def _bench_report(file: Path, own: Report | None) -> Report:
    report = read_report(file)
    what = ""
    if not any(_counts(run) for runs in report.loadgen.values() for run in runs.values()):
        what = "holds no valid search"
    elif own is not None and report.model.digest != own.model.digest:
        what = "is of another model"
    if what:
        fix = "optimize bench BUNDLE --scenario server --search --json > FILE"
        raise BadInput(what, where=str(file), fix=fix)
    return report


def _counts(run: LoadgenSummary) -> bool:
    return run.valid and run.search is not None


def _searched(runs: Mapping[str, LoadgenSummary]) -> Searched:
    """Server looks at instances as a server does, requests that come one by one; Offline at batches."""
    server, offline = runs.get(Scenario.SERVER.value), runs.get(Scenario.OFFLINE.value)
    instances = _instances(server) or _instances(offline)
    return Searched(instances, _batch(offline) or _batch(server), _delay(server))


def _instances(run: LoadgenSummary | None) -> Found | None:
    if run is None or run.search is None:
        return None
    told = [(each.workers, each.qps, "queries/s") for each in run.search.servers]
    told += [(each.workers, each.samples_per_s, "samples/s") for each in run.search.settings if each.batch == run.batch]
    rates = ", ".join(
        f"{count}: {rate:,.0f} {unit}" for count, rate, unit in sorted(told, key=lambda each: each[0]) if rate
    )
    return Found(run.workers, f"LoadGen's search, {_name(run)}, by instances: {rates or 'no other was tried'}")


def _batch(run: LoadgenSummary | None) -> Found | None:
    if run is None or run.search is None or not run.batch:
        return None
    rates = {each.batch: each.samples_per_s for each in run.search.settings if each.workers == run.workers}
    told = ", ".join(f"{batch}: {rate:,.0f} samples/s" for batch, rate in sorted(rates.items()) if rate)
    return Found(run.batch, f"LoadGen's search, {_name(run)}, by batch: {told or 'the largest within the bound'}")


def _delay(run: LoadgenSummary | None) -> Found | None:
    """The last wait that bore more than those before."""
    if run is None or run.search is None or not run.search.waits:
        return None
    rates = {round(each.wait_ms * 1000): each.qps for each in run.search.waits}
    told = ", ".join(f"{wait} us: {f'{rate:,.0f} queries/s' if rate else 'no more'}" for wait, rate in rates.items())
    return Found(max(wait for wait, rate in rates.items() if rate), f"LoadGen's search, {_name(run)}, by wait: {told}")


def _name(run: LoadgenSummary) -> str:
    """The scenario, by what its value is."""
    return "Offline" if run.unit == "samples/s" else "Server"
