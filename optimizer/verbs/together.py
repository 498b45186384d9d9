"""``optimize together BUNDLE BUNDLE …``: several engines at once on one machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.together.placement import Placement, find_mig_instances, on_cores, on_mig
from benchmarks.together.run import Tenant, Together, run_together
from engines.manifest import EngineManifest
from engines.targets.target import CPU
from graphs.errors import BadInput
from optimizer.bundle import Bundle
from optimizer.settings.numbers_given import check_above_zero
from optimizer.verbs.usual_inputs import usual_inputs

if TYPE_CHECKING:
    from rich.console import Console


def bench_together(
    bundles: Sequence[Path],
    *,
    target: str | None = None,
    copies: int = 1,
    batch: int = 8,
    seconds: float = 2.0,
    rounds: int = 3,
    say: Callable[[str], None] = lambda _: None,
) -> Together:
    """Run each bundle's ``target`` engine (None: the usual one of the first) ``copies`` times, all at once; on the CPU
    pinned to cores of their own, on a GPU one process per MIG instance. Inputs are seeded random ones: speed does not
    depend on their values.

    Raises ``BadInput`` for fewer than two engines, numbers not above 0, and where the GPU has too few MIG instances.
    """
    check_above_zero({"--copies": copies, "--batch": batch, "--rounds": rounds, "--seconds": seconds})
    chosen = [path for path in bundles for _ in range(copies)]
    if len(chosen) < 2:
        raise BadInput(
            "names one engine, which is to run beside others",
            where="together",
            fix="name more bundles, or --copies 2",
        )
    target = target or Bundle(chosen[0]).usual_target()
    folders = [Bundle(path).engine_directory(target) for path in chosen]
    placements = _placements(target, len(chosen))
    tenants = [
        _tenant(label, folder, batch, placement)
        for label, folder, placement in zip(
            _labels([Bundle(path).name for path in chosen]), folders, placements, strict=True
        )
    ]
    return run_together(tenants, seconds=seconds, rounds=rounds, say=say)


def _placements(target: str, count: int) -> list[Placement]:
    return on_cores(count) if target == CPU.name else on_mig(count, find_mig_instances())


def _tenant(name: str, folder: Path, batch: int, placement: Placement) -> Tenant:
    source = usual_inputs(folder, EngineManifest.load(folder).inputs, folder.parent.parent / "model.onnx", 1)
    return Tenant(name, folder.absolute(), next(source.samples()), batch, placement)


def _labels(names: Sequence[str]) -> list[str]:
    """``names``, numbered where one comes more than once."""
    total, seen = Counter(names), Counter[str]()
    labels = []
    for name in names:
        seen[name] += 1
        labels.append(f"{name} {seen[name]}" if total[name] > 1 else name)
    return labels


def render(found: Together, console: Console) -> None:
    """A line per engine, then the aggregate and whether it can be trusted."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("engine")
    table.add_column("on")
    for title in ("alone", "together", "share", "p99 alone", "p99 together"):
        table.add_column(title, justify="right", no_wrap=True)
    for tenant in found.tenants:
        table.add_row(
            Text(tenant.name),
            Text(tenant.place),
            f"{tenant.alone:,.1f} /s",
            f"{tenant.together:,.1f} /s",
            f"{tenant.share:.1%}",
            f"{tenant.alone_p99_ms:.2f} ms",
            f"{tenant.together_p99_ms:.2f} ms",
        )
    console.print(table)
    text = (
        f"together {found.aggregate:,.1f} samples/s; mean share {found.efficiency:.1%}, fairness {found.fairness:.3f}"
    )
    console.print(text, markup=False, highlight=False)
    for line in (*found.notes, *found.reasons):
        console.print(Text(f"- {line}", "yellow"))
