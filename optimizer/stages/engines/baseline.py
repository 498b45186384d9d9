"""What a GPU's engine is set beside where it is installed: ONNX Runtime's CUDA provider, on the same float graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from engines.build import build_engine
from engines.errors import BuildError
from engines.onnxruntime.provider import CUDA, OPTION, available
from engines.targets.target import Backend, Target
from graphs.errors import in_a_line
from optimizer.stages.engines.build import Terms
from optimizer.stages.engines.candidates import Built

BASELINE = Target("onnxruntime-cuda", "ONNX Runtime's CUDA provider", Backend.ONNXRUNTIME)
"""Nobody asks for it and no bundle holds it: its row of the report is a comparison."""


def baseline_here() -> bool:
    """Whether it is installed (onnxruntime-gpu)."""
    return available(CUDA)


def build_baseline(graphs: Mapping[str, Path], terms: Terms, folder: Path) -> Built:
    """An engine for every float graph, by precision, in folders named after it."""
    names, refused = list[str](), dict[str, str]()
    for name, path in graphs.items():
        out = folder / name
        try:
            manifest = build_engine(terms.request(BASELINE, path, out, name))
        except BuildError as error:
            refused[name] = in_a_line(error)
            continue
        replace(manifest, options={OPTION: CUDA}).save(out)
        names.append(name)
    return Built(names, refused)
