"""ONNX's own backend tests in the form for TensorRT 8: ``python -m studies.tensorrt8.backend [--kind node …]``.

Each test's model typed in FP16 and in INT8 with made-up ranges, lowered, and run beside the typed graph with all in
FP32: one for each operator and option of the standard. What TensorRT 8 would not take is counted by reason.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx

from engines.engine import Feed
from optimizer.settings.options import Precision
from studies.breadth.onnx_tests import KINDS, Case, cases, fed, is_tensor, stored
from studies.tensorrt8.judging import UNUSABLE, Found, Tally, judged


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", nargs="*", choices=list(KINDS), default=["node", "simple", "pytorch-operator"])
    parser.add_argument("--precision", nargs="*", choices=["fp32", "fp16", "int8"], default=["fp16"])
    asked = parser.parse_args(arguments)
    tally = Tally()
    for case in cases(asked.kind):
        for precision in asked.precision:
            tally.add(f"{case.name} {precision}", trial(case, Precision(precision)))
    tally.show()
    return 0


def trial(case: Case, precision: Precision) -> Found:
    """The outcome of one test, on the inputs that it brings."""
    names = fed(case.model)
    feeds: list[Feed] = []
    for inputs, _ in case.sets:
        if len(inputs) < len(names) or not all(is_tensor(array) for array in inputs):
            return Found(UNUSABLE, "its inputs are no tensors")
        feeds.append({name: stored(array) for name, array in zip(names, inputs, strict=False)})
    if not feeds:
        return Found(UNUSABLE, "it has no data")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(case.model, path)
        return judged(path, precision, feeds)


if __name__ == "__main__":
    raise SystemExit(main())
