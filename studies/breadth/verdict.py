"""From a report and a judge's findings to the outcome: does what the report claims hold?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from studies.breadth.row import Outcome, Row

CLAIM_DB = 1.0
"""Most that a claimed SQNR may lie from what the judge finds on the same samples in the types the graph states."""
LOOSE_DB = 2.0
"""Most that it may lie above what a judge finds who computes float16 in float32 and rounds at other places."""
BEYOND_DB = 45.0
"""Above this both are rounding: the order of a sum decides, and nobody's choice rests on it."""
OWN_NOISE_DB = 5.0
"""The reference of a 16-bit source has that type's own rounding: so far below what it leaves, claims can be held."""
BEYOND_BF16_DB = 40.0
"""The same for bfloat16, of which one rounding leaves 54 dB where float16's leaves 72."""


@dataclass(frozen=True)
class Judged:
    """What the judge found, dB by output: the typed graph (``typed_by`` whom), the CPU's engine in plain ONNX Runtime,
    the share of equal elements of outputs that are not float, the least SQNR that a float32 engine must have, and what
    ONNX Runtime's default session makes of the typed graph, or why it does not run it."""

    typed: dict[str, float]
    typed_by: str
    cpu: dict[str, float] = field(default_factory=dict)
    integers: dict[str, float] = field(default_factory=dict)
    least_float_db: float = 60.0
    plain: dict[str, float] = field(default_factory=dict)
    plain_refused: str = ""


def verdict(row: Row, report: Mapping[str, Any], judged: Judged) -> Row:
    """``row`` with its outcome: wrong where a claim does not hold, refused where a plan is missing, else works."""
    claims = _claims((report["accuracy"] or {}).get("outputs", {}))
    cpu = report["targets"].get("cpu", {})
    targets = {name: _status(target) for name, target in report["targets"].items()}
    row = replace(
        row,
        sqnr_db=min(claims.values(), default=None),
        judged_db=min(judged.typed.values(), default=None),
        cpu_db=min(judged.cpu.values(), default=None),
        plain_db=min(judged.plain.values(), default=None),
        plain_refused=judged.plain_refused,
        int8_mac_share=report["precision"]["int8_mac_share"],
        targets=targets,
        judge=judged.typed_by,
    )
    beyond = min(BEYOND_BF16_DB if row.precision == "bf16" else BEYOND_DB, judged.least_float_db - OWN_NOISE_DB)
    false = _false_claims("model.onnx", claims, judged.typed, judged.typed_by, beyond) + _cpu_faults(cpu, judged)
    if false:
        return replace(row, outcome=Outcome.WRONG, reason="; ".join(false))
    refused = {name: target for name, target in report["targets"].items() if target["status"] == "skipped"}
    if refused:
        reasons = "; ".join(f"{name}: {target['reason']}" for name, target in refused.items())
        return replace(row, outcome=Outcome.REFUSED, reason=reasons.replace("\n", "; "))
    return replace(row, outcome=Outcome.WORKS)


def _claims(outputs: Mapping[str, Any]) -> dict[str, float]:
    return {name: -999.0 if o["sqnr_db"] is None or o.get("failure") else o["sqnr_db"] for name, o in outputs.items()}


def _false_claims(
    what: str, claims: Mapping[str, float], judged: Mapping[str, float], by: str, beyond_db: float = BEYOND_DB
) -> list[str]:
    faults = []
    for name, db in judged.items():
        claimed = claims.get(name)
        if claimed is None:
            faults.append(f"{what}: nothing is claimed of output {name!r}")
        elif _differ(min(claimed, beyond_db), min(db, beyond_db), both=by == "reference"):
            faults.append(f"{what}: {claimed:.1f} dB claimed of {name!r}, {db:.1f} dB found ({by})")
    return faults


def _differ(claimed: float, found: float, *, both: bool) -> bool:
    """Whether a claim is false. A judge that computes float16 in float32 can only say that too much is claimed."""
    if max(claimed, found) <= 0:
        return False
    return claimed - found > (CLAIM_DB if both else LOOSE_DB) or (both and found - claimed > CLAIM_DB)


def _cpu_faults(cpu: Mapping[str, Any], judged: Judged) -> list[str]:
    if not cpu or cpu.get("status") == "skipped":
        return []
    if cpu.get("kept_precision") == "fp32":
        low = {name: db for name, db in judged.cpu.items() if db < judged.least_float_db}
        other = [name for name, share in judged.integers.items() if share < 0.99]
        found = [f"the FP32 CPU engine gives {db:.1f} dB at {name!r}" for name, db in low.items()]
        return found + [f"the FP32 CPU engine gives other integers at {name!r}" for name in other]
    return _false_claims("the CPU engine", _claims(cpu.get("accuracy") or {}), judged.cpu, "reference")


def _status(target: Mapping[str, Any]) -> str:
    return str(target["reason"] if target["status"] == "skipped" else target["status"]).partition("\n")[0]
