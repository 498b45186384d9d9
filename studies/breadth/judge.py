"""An independent judge: ONNX Runtime on the model as given, ``onnx.reference`` with real float16 on what came out.

It shares no code with the product. ``onnx.reference`` computes every float16 tensor in float16, which ONNX Runtime's
CPU kernels do not; where it is itself wrong on the model as given, ONNX Runtime judges alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

Feed: TypeAlias = Mapping[str, NDArray[Any]]
Answers: TypeAlias = list[dict[str, NDArray[Any]]]
FLOATS = ("float16", "float32", "float64", "bfloat16")
TRUSTED_DB = 60.0
"""``onnx.reference`` must be as close to ONNX Runtime on the model as given; below, one of its operators is off."""


def run_onnxruntime(model: Path, feeds: Sequence[Feed], *, simulated: bool = False) -> Answers:
    """Every output of every feed; ``simulated`` executes Q/DQ nodes in float, as they are written."""
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    if simulated:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    wanted = [value.name for value in session.get_inputs()]
    return [dict(zip(names, session.run(names, {n: feed[n] for n in wanted}), strict=True)) for feed in feeds]


def run_reference(model: Path, feeds: Sequence[Feed]) -> Answers:
    """Every output of every feed, each tensor in its own type."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(onnx.load(model))
    with np.errstate(all="ignore"):
        answers: list[Any] = [
            evaluator.run(None, {name: feed[name] for name in evaluator.input_names}) for feed in feeds
        ]
    return [dict(zip(evaluator.output_names, answer, strict=True)) for answer in answers]


def sqnr_db(wanted: Answers, found: Answers) -> dict[str, float]:
    """SQNR of every float output over all feeds, dB; minus infinity where shapes differ or NaN stands elsewhere.

    Infinity where nothing differs. An output without elements, or whose reference is not finite, is left out.
    """
    return {name: db for name in (wanted[0] if wanted else {}) if (db := _output_db(name, wanted, found)) is not None}


def _output_db(name: str, wanted: Answers, found: Answers) -> float | None:
    signal = noise = 0.0
    for expected, answer in zip(wanted, found, strict=True):
        if not _is_float(expected[name]) or not np.isfinite(_double(expected[name])).all():
            return None
        if name not in answer or expected[name].shape != answer[name].shape:
            return -math.inf
        a, b = _double(expected[name]), _double(answer[name])
        if not np.isfinite(b).all():
            return -math.inf
        signal += float(np.sum(a * a))
        noise += float(np.sum((a - b) ** 2))
    if signal == 0:
        return None
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)


def same_integers(wanted: Answers, found: Answers) -> dict[str, float]:
    """Share of equal elements of every output that is not float; 0 where shapes differ."""
    shares: dict[str, float] = {}
    for name in wanted[0] if wanted else ():
        if _is_float(wanted[0][name]) or wanted[0][name].dtype.kind == "O":
            continue
        pairs = [(expected[name], answer.get(name)) for expected, answer in zip(wanted, found, strict=True)]
        shares[name] = min(_equal(a, b) for a, b in pairs)
    return shares


def _equal(a: NDArray[Any], b: NDArray[Any] | None) -> float:
    if b is None or a.shape != b.shape:
        return 0.0
    return float(np.mean(a == b)) if a.size else 1.0


def in_real_types(original: Path, typed: Path, feeds: Sequence[Feed], wanted: Answers) -> tuple[dict[str, float], str]:
    """What the typed graph gives in real float16, dB by output, and who judged.

    That is ``reference``, ``onnxruntime`` or, where neither runs it, ``nobody``.
    """
    agrees = _attempted(lambda: sqnr_db(wanted, run_reference(original, feeds)))
    if agrees is not None and min(agrees.values(), default=math.inf) >= TRUSTED_DB:
        judged = _attempted(lambda: sqnr_db(wanted, run_reference(typed, feeds)))
        if judged is not None:
            return judged, "reference"
    judged = _attempted(lambda: sqnr_db(wanted, run_onnxruntime(typed, feeds, simulated=True)))
    return (judged, "onnxruntime") if judged is not None else ({}, "nobody")


def _attempted(run: Callable[[], dict[str, float]]) -> dict[str, float] | None:
    """``onnx.reference`` lacks operators and types; what it raises then is of every kind."""
    try:
        return run()
    except Exception:  # a judge that cannot run is no finding: the other one judges
        return None


def _is_float(array: NDArray[Any]) -> bool:
    return np.asarray(array).dtype.name in FLOATS


def _double(array: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(array).astype(np.float64)
