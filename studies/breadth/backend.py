"""ONNX's own backend tests through the product: ``python -m studies.breadth.backend --out rows.jsonl [--only NAME …]``.

The onnx package ships about two thousand small models with inputs and the outputs that are right: one for each operator
and option, nets of torchvision and Caffe2, operators as PyTorch exports them. The inputs are calibration and evaluation
data; what the bundle's graphs answer is compared with the outputs of the test, not with another runtime's.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from studies.breadth.onnx_tests import KINDS, Case, cases, fed, is_tensor, stored
from studies.breadth.row import Outcome, Row, append, read
from studies.breadth.trial import in_child, leave_out_measurements, own_cache, warm_up

LIMIT_S, LIMIT_OF_NETS_S = 120.0, 600.0
"""Wall time of one test, and of a net of Caffe2: a machine may have other work."""
TOGETHER = 20
"""Tests run in one process: what each needs of its own (a fork, first allocations) costs as much as the test."""
LEAST_DB = {"fp32": 80.0, "fp16": 35.0, "int8": 15.0}
"""An output is right at a precision from this SQNR on, or within the test's own tolerance. Most tensors here hold a few
dozen values, so that INT8 has little to average over."""
BFLOAT16_DB = 40.0
"""A tensor of bfloat16 (8 bits) is computed in float32 here: it differs from the test by a rounding or two."""
LEAST_EQUAL = {"fp32": 0.999, "fp16": 0.9, "int8": 0.8}
"""Share of equal elements of integer and boolean outputs; a choice between near equals may fall the other way."""


def run(case: Case, precision: str, targets: Sequence[str] = ("cpu", "t4"), *, plans: bool = False) -> Row:
    """One test at one precision; with ``plans`` the engines of GPU targets are built, too."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="backend-") as work:
        found = in_child(
            lambda: _tried(case, precision, targets, Path(work), plans), limit_s(case), Path(work) / "result.json"
        )
    return _row(case, precision, found, time.monotonic() - began, plans)


def limit_s(case: Case) -> float:
    return LIMIT_OF_NETS_S if case.kind == "light" else LIMIT_S


def run_together(chosen: Sequence[tuple[Case, str]], targets: Sequence[str], *, plans: bool = False) -> list[Row]:
    """Several in one process, which costs half; where that ends without an answer, each in a process of its own."""

    def each() -> dict[str, Any]:
        found = []
        for case, precision in chosen:
            began = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="backend-") as work:
                tried = _tried(case, precision, targets, Path(work), plans)
            found.append((tried, time.monotonic() - began))
        return {"found": found}

    with tempfile.TemporaryDirectory(prefix="backend-") as folder:
        answer = in_child(each, sum(limit_s(case) for case, _ in chosen), Path(folder) / "result.json")
    if "crash" in answer:
        return [run(case, precision, targets, plans=plans) for case, precision in chosen]
    return [
        _row(case, asked, found, seconds, plans)
        for (case, asked), (found, seconds) in zip(chosen, answer["found"], strict=True)
    ]


def _row(case: Case, precision: str, found: Mapping[str, Any], seconds: float, plans: bool) -> Row:
    reason = found.get("crash") or found.get("refused") or found.get("wrong") or ""
    return Row(
        *("backend, with plans" if plans else "backend", case.kind, case.name),
        next((o for key, o in _OUTCOMES.items() if found.get(key)), Outcome.WORKS),
        " ".join(reason.split()),
        precision,
        seconds=round(seconds, 1),
        peak_mb=found.get("peak_mb", 0),
        judged_db=found.get("db"),
        judge=found.get("judge", ""),
        notes=found.get("notes", []),
    )


_OUTCOMES = {"crash": Outcome.CRASHED, "wrong": Outcome.WRONG, "refused": Outcome.REFUSED}


def _tried(case: Case, precision: str, targets: Sequence[str], work: Path, plans: bool = False) -> dict[str, Any]:
    from graphs.errors import BadInput, EnginewrightError, in_a_line
    from optimizer import optimize

    own_cache(work)
    leave_out_measurements(plans=plans)
    onnx.save(case.model, work / "model.onnx")
    names = fed(case.model)
    (work / "data").mkdir()
    for number, (inputs, _) in enumerate(case.sets):
        arrays = {n: stored(a) for n, a in zip(names, inputs, strict=False) if is_tensor(a)}
        np.savez(work / "data" / f"{number:03}.npz", allow_pickle=False, **arrays)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            report = optimize(
                work / "model.onnx",
                out=work / "bundle",
                precision=precision,
                data=str(work / "data"),
                targets=list(targets),
                loadgen=(),
                max_drop=0.9,
                jobs=1,
                cpu_form="auto",
            ).report
        except BadInput as error:
            return {"refused": in_a_line(error)}
        except EnginewrightError as error:
            return {"crash": f"exit {error.exit_code}: {in_a_line(error)}"}
    loud = [str(w.message) for w in caught if issubclass(w.category, RuntimeWarning)]
    if loud:
        return {"crash": f"numpy warning: {loud[0]}"}
    skipped = {name: target.reason for name, target in report.targets.items() if target.status == "skipped"}
    return {
        **_judged(case, precision, work / "bundle", names),
        "refused": "; ".join(f"{name}: {reason}" for name, reason in skipped.items()),
    }


def _judged(case: Case, precision: str, bundle: Path, names: Sequence[str]) -> dict[str, Any]:
    """Against the outputs of the test; where ONNX Runtime answers otherwise for the model as given, against those."""
    found = _compared(case, precision, bundle, names, [outputs for _, outputs in case.sets])
    if found["wrong"] and (own := onnxruntimes(case)) is not None:
        again = _compared(case, precision, bundle, names, own)
        note = f"ONNX Runtime itself answers otherwise than the test: {found['wrong']}"
        return {**again, "judge": "onnxruntime", "notes": [note]}
    return {**found, "judge": "the test"}


def onnxruntimes(case: Case) -> list[list[NDArray[Any]]] | None:
    """What ONNX Runtime answers for the model as given; None where it does not run it, or as the test has it."""
    from engines.errors import EngineError
    from engines.onnxruntime.engine import OnnxRuntimeEngine

    names, values = fed(case.model), case.model.graph.output
    try:
        with OnnxRuntimeEngine(case.model.SerializeToString(), threads=1) as engine:
            answers = [
                engine.infer({name: stored(value) for name, value in zip(names, inputs, strict=False)})
                for inputs, _ in case.sets
            ]
    except EngineError:
        return None
    own = [[answer[value.name] for value in values] for answer in answers]
    differ = any(
        fault(case, "fp32", value, stored(expected), stored(found))[1]
        for (_, outputs), answer in zip(case.sets, own, strict=True)
        for value, expected, found in zip(values, outputs, answer, strict=False)
    )
    return own if differ else None


def _compared(
    case: Case, precision: str, bundle: Path, names: Sequence[str], wanted: Sequence[Sequence[Any]]
) -> dict[str, Any]:
    from engines.onnxruntime.engine import OnnxRuntimeEngine
    from optimizer.simulation.run import simulated

    wrong, worst = [], 999.0
    for what, opened in (
        ("engines/cpu", lambda: OnnxRuntimeEngine(bundle / "engines" / "cpu" / "model.onnx")),
        ("model.onnx", lambda: simulated(bundle / "model.onnx")),
    ):
        with opened() as engine:
            for (inputs, _), outputs in zip(case.sets, wanted, strict=True):
                feed = {n: stored(a) for n, a in zip(names, inputs, strict=False)}
                answers = engine.infer({spec.name: feed[spec.name] for spec in engine.inputs})
                for value, expected in zip(case.model.graph.output, outputs, strict=False):
                    db, found = fault(case, precision, value, stored(expected), answers[value.name])
                    worst = min(worst, db)
                    wrong += [f"{what}: output {value.name!r} {found}"] if found else []
    return {"wrong": "; ".join(dict.fromkeys(wrong)), "db": worst}


def fault(
    case: Case, precision: str, value: onnx.ValueInfoProto, expected: NDArray[Any], found: NDArray[Any]
) -> tuple[float, str]:
    """SQNR of the output ``value``, dB, and what is wrong with it."""
    if expected.shape != found.shape:
        return -999.0, f"has shape {list(found.shape)}, not {list(expected.shape)}"
    if not _is_float(expected):
        share = float(np.mean(expected == found)) if expected.size else 1.0
        return 999.0, "" if share >= LEAST_EQUAL[precision] else f"has {1 - share:.0%} other values"
    a, b = expected.astype(np.float64), found.astype(np.float64)
    if np.allclose(b, a, rtol=case.rtol, atol=case.atol, equal_nan=True):
        return 999.0, ""
    finite = np.isfinite(a)
    if not np.isfinite(b[finite]).all() or not _same(a[~finite], b[~finite]):
        return -999.0, "has NaN or infinity elsewhere"
    signal, noise = float(np.sum(a[finite] ** 2)), float(np.sum((a[finite] - b[finite]) ** 2))
    db = 10 * float(np.log10(max(signal, 1e-30) / max(noise, 1e-30)))
    least = min(
        LEAST_DB[precision], BFLOAT16_DB if value.type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16 else np.inf
    )
    return db, "" if db >= least else f"has an SQNR of {db:.1f} dB"


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return bool(np.all((a == b) | (np.isnan(a) & np.isnan(b))))


def _is_float(array: NDArray[Any]) -> bool:
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def sample(count: int, seed: int) -> list[Case]:
    """A seeded choice of tests, the same each time."""
    found = sorted(cases(("node", "pytorch-converted", "pytorch-operator")), key=lambda case: case.name)
    return random.Random(seed).sample(found, count)


def _shard(text: str) -> tuple[int, int]:
    number, _, parts = text.partition("/")
    if not 0 <= int(number) < int(parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no part: expected 0/2 or 1/2, say")
    return int(number), int(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines; rows that are there are not run again")
    parser.add_argument("--only", nargs="*", default=[], help="names of tests (or parts of them)")
    parser.add_argument("--kind", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--precision", nargs="*", choices=list(LEAST_DB), default=list(LEAST_DB))
    parser.add_argument("--target", nargs="*", default=["cpu", "t4"])
    parser.add_argument("--plans", action="store_true", help="build the engines of GPU targets, too")
    parser.add_argument("--operators", action="store_true", help="the first test of each operator only")
    parser.add_argument("--plain", action="store_true", help="without the expanded tests: the same in more nodes")
    parser.add_argument("--stride", type=int, default=1, help="every n-th test")
    parser.add_argument("--shard", type=_shard, default=(0, 1), metavar="K/N", help="the K-th of N parts, from 0")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after that long; run again to go on")
    asked = parser.parse_args(arguments)
    warm_up()
    done = set() if asked.only else {(row.name, row.precision) for row in read(asked.out)}
    end = time.monotonic() + asked.seconds
    left = [(case, precision) for case, precision in _chosen(asked) if (case.name, precision) not in done]
    for start in range(0, len(left), TOGETHER):
        if time.monotonic() > end:
            break
        for row in run_together(left[start : start + TOGETHER], asked.target, plans=asked.plans):
            append(asked.out, row)
            if row.outcome is not Outcome.WORKS:
                print(f"{row.outcome.value:20} {row.precision} {row.name}: {row.reason[:300]}", flush=True)
    return 0


def _chosen(asked: argparse.Namespace) -> Iterator[tuple[Case, str]]:
    """What to run; the expanded tests, which say the same in more nodes, last."""
    found = sorted(cases(asked.kind), key=lambda case: "expanded" in case.name)
    if asked.only:
        found = [case for case in found if any(part in case.name for part in asked.only)]
    if asked.operators:
        first: dict[frozenset[str], Case] = {}
        for case in found:
            first.setdefault(frozenset(node.op_type for node in case.model.graph.node), case)
        found = list(first.values())
    number, parts = asked.shard
    found = found[:: asked.stride][number::parts]
    for expanded in (False,) if asked.plain else (False, True):
        for precision in asked.precision:
            yield from ((case, precision) for case in found if ("expanded" in case.name) is expanded)


if __name__ == "__main__":
    raise SystemExit(main())
