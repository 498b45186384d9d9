"""``optimize deploy BUNDLE tensorrt8``: the graph for a TensorRT 8 that is elsewhere, and a script that builds it."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from deployment.trtexec import build_script
from engines.engine import Feed
from engines.manifest import EngineManifest
from engines.profile import ShapeProfile
from engines.targets.target import CPU
from graphs.errors import BadInput
from graphs.files import write_json
from graphs.staging import in_folder, refuse_foreign, staged
from graphs.storage.mapped_weights import read_graph
from graphs.storage.saving import save_model
from optimizer.bundle import MODEL, PLAN, Bundle
from optimizer.stages.data.inputs import model_inputs
from optimizer.tensorrt8.lowering import lower_for_tensorrt8
from optimizer.tensorrt8.meaning import check_meaning
from optimizer.verbs.usual_inputs import usual_inputs

SCRIPT, ENGINE = "build.sh", "model.plan"
_SAMPLES = 2
"""Samples that the lowered graph is verified on: what differs by structure differs on the first. Chosen."""


def write_tensorrt8_folder(bundle: Bundle, out: Path) -> list[Path]:
    """Write ``model.onnx`` (its weights beside it when large), ``precision.json``: node -> what it computes in, and the
    script ``build.sh`` that builds ``model.plan``; returns the files. The graph is run beside the bundle's own on
    random inputs before anything is written.

    Raises ``BuildError`` for a graph that TensorRT 8 cannot take, ``BadInput`` for a bundle without one for GPUs.
    """
    targets = [name for name in bundle.targets() if name != CPU.name]
    bundle.check_intact(f"{MODEL}*", "engines/*/engine.json")
    typed = read_graph(bundle.path / MODEL)
    _check_is_for_gpus(bundle, typed, targets)
    engine = bundle.path / "engines" / (targets or [CPU.name])[0]
    lowered = lower_for_tensorrt8(typed)
    check_meaning(typed, lowered, _inputs(engine, typed, bundle.path / MODEL))
    types = {name: dtype.value for name, dtype in lowered.precisions.items()}
    profile = EngineManifest.load(engine).profile if bundle.targets() else ShapeProfile({})
    refuse_foreign(out, SCRIPT)
    with in_folder(out.parent), staged(out) as folder:
        save_model(lowered.model, folder / MODEL)
        write_json(folder / PLAN, types)
        script = folder / SCRIPT
        script.write_text(build_script(MODEL, ENGINE, types, profile))
        script.chmod(0o755)
    return sorted(path for path in out.iterdir() if path.is_file())


def _check_is_for_gpus(bundle: Bundle, typed: ir.Model, targets: list[str]) -> None:
    quantized = any(value.dtype == ir.DataType.UINT8 for node in typed.graph for value in node.outputs)
    if quantized and not targets:
        raise BadInput(
            "its model.onnx is quantized for ONNX Runtime on a CPU",
            where=str(bundle.path),
            expected="a bundle with a GPU target",
            fix="run `optimize MODEL.onnx --target cpu,t4`",
        )


def _inputs(engine: Path, typed: ir.Model, graph: Path) -> list[Feed]:
    return list(usual_inputs(engine, model_inputs(typed), graph, _SAMPLES).samples())
