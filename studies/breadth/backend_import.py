"""ONNX's backend tests, all, through import and cleaning only: ``python -m studies.breadth.backend_import --out ROWS``.

Nothing is calibrated, typed or built, so that the two thousand tests take minutes; what the imported graph and the
cleaned one answer is compared with the outputs of the test. ``studies.breadth.backend`` runs the whole product.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import onnx_ir as ir

from engines.errors import EngineError
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.errors import BadInput, in_a_line
from graphs.storage.saving import serialized
from optimizer.attempt import STRICT
from optimizer.importing import import_model
from optimizer.passes.clean import clean
from studies.breadth.backend import fault
from studies.breadth.onnx_tests import KINDS, Case, cases, fed, stored
from studies.breadth.row import Outcome, Row, append


def tried(case: Case, path: Path) -> tuple[Outcome, str]:
    """Import the test's model, clean it, run both; ``path`` is where the model is put."""
    onnx.save(case.model, path)
    try:
        imported = import_model(path).model
    except BadInput as error:
        return Outcome.REFUSED, in_a_line(error)
    cleaned = imported.clone()
    clean(cleaned)
    for what, model in (("imported", imported), ("cleaned", cleaned)):
        try:
            wrong = _wrong(case, model)
        except EngineError as error:
            refused = what == "imported"  # then the product ends with this reason before it cleans
            return Outcome.REFUSED if refused else Outcome.CRASHED, f"{what}: {in_a_line(error)}"
        if wrong and not _as_onnxruntime(case, path, model):
            return Outcome.WRONG, f"{what}: {'; '.join(wrong)}"
    return Outcome.WORKS, ""


def _wrong(case: Case, model: ir.Model) -> list[str]:
    names = fed(case.model)
    wrong = []
    with OnnxRuntimeEngine(serialized(model), threads=1) as engine:
        for inputs, outputs in case.sets:
            feed = {name: stored(value) for name, value in zip(names, inputs, strict=False)}
            answers = engine.infer({spec.name: feed[spec.name] for spec in engine.inputs})
            for value, expected in zip(case.model.graph.output, outputs, strict=False):
                _, found = fault(case, "fp32", value, stored(expected), answers[value.name])
                wrong += [f"output {value.name!r} {found}"] if found else []
    return wrong


def _as_onnxruntime(case: Case, path: Path, model: ir.Model) -> bool:
    """Whether ONNX Runtime answers the same for the model as given: then it is what differs from the test."""
    names = fed(case.model)
    feed = {name: stored(value) for name, value in zip(names, case.sets[0][0], strict=False)}
    try:
        with OnnxRuntimeEngine(path, threads=1) as given, OnnxRuntimeEngine(serialized(model), threads=1) as ours:
            first, second = (e.infer({spec.name: feed[spec.name] for spec in e.inputs}) for e in (given, ours))
    except EngineError:
        return False
    return not any(fault(case, "fp32", v, first[v.name], second[v.name])[1] for v in case.model.graph.output)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines")
    parser.add_argument("--only", nargs="*", default=[], help="names of tests (or parts of them)")
    asked = parser.parse_args(arguments)
    os.environ[STRICT] = "1"
    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        for case in cases([kind for kind in KINDS if kind != "real"]):
            if asked.only and not any(part in case.name for part in asked.only):
                continue
            try:
                outcome, reason = tried(case, Path(folder) / "model.onnx")
            except Exception as error:  # whatever it is, it is what the row has to say
                outcome, reason = Outcome.CRASHED, f"{type(error).__name__}: {error}"
            append(
                asked.out, Row("backend", "import", f"import of {case.name}", outcome, " ".join(reason.split()), "fp32")
            )
            if outcome in (Outcome.WRONG, Outcome.CRASHED):
                print(f"{outcome.value:10} {case.name}: {reason[:300]}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
