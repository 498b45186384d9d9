"""``optimize inspect``: what is in a model, what it costs, and what a target cannot run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir

from benchmarks.report.formats import count, size
from benchmarks.roofline.predict import OFFLINE_BATCH
from calibration.sources.observed import observed_shapes
from calibration.sources.open import open_source
from engines.engine import TensorSpec, batchable, told
from engines.targets.boards import GpuRates
from engines.targets.target import rates_of
from graphs.errors import BadInput
from graphs.reading.macs import count_macs, int8_mac_share, total_macs
from graphs.reading.operators import is_standard
from optimizer.bundle import MANIFEST, Bundle
from optimizer.importing import import_model
from optimizer.importing.survey import Survey
from optimizer.passes.dialects.integer_operators import spells_out
from optimizer.passes.dialects.runtime_operators import has_body
from optimizer.prequantized.repaired import repairs_told
from optimizer.settings.options import Precision
from optimizer.sparsity.pattern import TWO_FOUR
from optimizer.stages.data.index_limits import integer_bounds, size_inputs
from optimizer.stages.data.inputs import model_inputs
from optimizer.verbs.engine_tables import EngineSummary, manifests, render_summaries, summarise
from optimizer.verbs.inspect.bounds import TargetBounds, bounds, kernels_of, render_bounds
from optimizer.verbs.inspect.sparsity import WeightPattern, render_patterns, summary, weight_patterns
from optimizer.verbs.inspect.tensorrt8 import tensorrt8_limits

if TYPE_CHECKING:
    from rich.console import Console

CONTROL_FLOW = ("If", "Loop", "Scan")


@dataclass(frozen=True)
class Inspection:
    """``flops`` is two per multiply-accumulate for one sample of ``sample_shapes``; ``limits`` say what a target cannot
    run, by node; ``top_nodes`` are the costliest by MACs; ``targets`` what is predicted for the GPUs asked about;
    ``engines`` those of a bundle, by target; ``weights`` which of them are 2:4, or could be;
    ``quantization`` is what a model says that came quantized, ``repairs`` what would be done for TensorRT to take it.
    """

    name: str
    digest: str
    bytes: int
    parameters: int
    opset: int
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    sample_shapes: dict[str, tuple[int, ...]]
    ops: dict[str, int]
    flops: int
    top_nodes: dict[str, int]
    quantize_nodes: int
    int8_mac_share: float
    limits: list[str]
    notes: list[str]
    targets: dict[str, TargetBounds] = field(default_factory=dict)
    engines: dict[str, EngineSummary] = field(default_factory=dict)
    weights: list[WeightPattern] = field(default_factory=list)
    quantization: Survey | None = None
    repairs: list[str] = field(default_factory=list)


def inspect_model(
    path: Path,
    *,
    targets: Sequence[str] = (),
    precision: Precision | None = None,
    batch: int = OFFLINE_BATCH,
    tensorrt8: bool = False,
) -> Inspection:
    """Look at an ONNX file or the graph and engines of a bundle, and at what bounds its layers on ``targets``.

    ``precision`` types a float model as the main job would; None takes the graph's own types. ``tensorrt8``: the limits
    say also what TensorRT 8 would refuse. Raises ``BadInput`` where
    it cannot be read, for a GPU whose rates are not known, and for a precision the graph cannot take any more.
    """
    boards = {name: rates_of(name) for name in targets}
    is_bundle = (path / MANIFEST).is_file()
    file = path / "model.onnx" if is_bundle else path
    imported = import_model(file)
    model = imported.model
    engines = manifests(Bundle(path)) if is_bundle else {}
    specs = model_inputs(model)
    for manifest in engines.values():
        specs = told(specs, manifest.inputs)
    shapes = _sample_shapes(model, specs)
    costs = count_macs(model, shapes)
    ops = Counter(node.op_type for node in _nodes(model))
    patterns = weight_patterns(model)
    could = {row.node for row in patterns if row.eligible or row.pattern == TWO_FOUR}
    ranked = sorted(costs.items(), key=lambda item: -item[1].macs)[:5]
    return Inspection(
        name=file.name,
        digest=imported.digest,
        bytes=imported.bytes,
        parameters=imported.parameters,
        opset=imported.opset,
        inputs=list(specs),
        outputs=[_output(value) for value in model.graph.outputs],
        sample_shapes=shapes,
        ops=dict(ops.most_common()),
        flops=2 * total_macs(costs),
        top_nodes={name: cost.macs for name, cost in ranked if cost.macs},
        quantize_nodes=ops["QuantizeLinear"] + ops["DequantizeLinear"],
        int8_mac_share=int8_mac_share(model, shapes),
        limits=[*_limits(model), *(tensorrt8_limits(model) if tensorrt8 else ())],
        notes=list(imported.notes),
        targets=_bounds(model, specs, shapes, boards, precision, batch, could) if boards else {},
        engines={name: summarise(found) for name, found in engines.items()},
        weights=patterns,
        quantization=imported.quantization,
        repairs=repairs_told(model) if imported.quantization is not None and imported.quantization.static else [],
    )


def _bounds(
    model: ir.Model,
    specs: tuple[TensorSpec, ...],
    shapes: dict[str, tuple[int, ...]],
    boards: Mapping[str, GpuRates],
    precision: Precision | None,
    batch: int,
    sparse: Collection[str],
) -> dict[str, TargetBounds]:
    if precision is not None and any(node.op_type == "QuantizeLinear" for node in _nodes(model)):
        raise BadInput(
            "the graph is quantized already", where="--precision", fix="leave --precision out, or give the float model"
        )
    found = kernels_of(model, shapes, precision)
    usable = batch if batchable(specs) else 1
    return {name: bounds(found, name, gpu, precision, usable, sparse) for name, gpu in boards.items()}


def _sample_shapes(model: ir.Model, specs: tuple[TensorSpec, ...]) -> dict[str, tuple[int, ...]]:
    bounds = integer_bounds(model)
    source = open_source("random", specs, samples=1, integer_bounds=bounds, sizes=size_inputs(model))
    return {name: shapes[0] for name, shapes in observed_shapes(source).items()}


def _nodes(model: ir.Model) -> list[ir.Node]:
    return [node for graph in model.graphs() for node in graph]


def _output(value: ir.Value) -> TensorSpec:
    dims = tuple(d if isinstance(d, int) else (d.value or "?") for d in value.shape) if value.shape else ()
    return TensorSpec(str(value.name), value.dtype.numpy().name if value.dtype else "?", dims)


def _axes(shape: Sequence[int | str]) -> str:
    """``[batch, 3, 224, 224]``; sizes alone as ``1x3x224x224``, the form that ``--shape`` takes."""
    if all(isinstance(size, int) for size in shape):
        return "x".join(map(str, shape)) or "scalar"
    return f"[{', '.join(map(str, shape))}]"


def _limits(model: ir.Model) -> list[str]:
    """What TensorRT is known not to take, by node; a build says the rest."""
    found = []
    for node in _nodes(model):
        if spells_out(node) or has_body(node):
            continue
        if not is_standard(node):
            found.append(f"{node.name}: {node.domain}.{node.op_type} needs a TensorRT plugin")
        elif node.op_type in CONTROL_FLOW:
            found.append(f"{node.name}: {node.op_type} stays in float; TensorRT takes it only with static conditions")
    return found


def render(found: Inspection, console: Console, top: int = 10, *, sparsity: bool = False) -> None:
    """Print it as a short page; ``top`` layers per target; with ``sparsity`` every weight's pattern."""
    from rich.table import Table
    from rich.text import Text

    if not found.ops:
        raise BadInput("the graph is empty", where=found.name)
    console.print(Text.assemble((found.name, "bold"), f"  opset {found.opset}  {size(found.bytes)}"))
    shapes = ", ".join(f"{name} {_axes(shape)}" for name, shape in found.sample_shapes.items())
    console.print(f"{found.parameters:,} parameters", highlight=False)
    console.print(f"{count(found.flops)} FLOPs for one sample: {shapes}", highlight=False)
    for title, specs in (("input", found.inputs), ("output", found.outputs)):
        for spec in specs:
            console.print(f"{title} {spec.name}: {spec.dtype} {_axes(spec.shape)}", highlight=False)
    table = Table("op", "count", box=None, pad_edge=False)
    for op, nodes in found.ops.items():
        table.add_row(op, str(nodes))
    console.print(table)
    for name, macs in found.top_nodes.items():
        console.print(f"{2 * macs / max(found.flops, 1):6.1%} of the FLOPs in {name}", highlight=False)
    console.print(f"{found.quantize_nodes} Q/DQ nodes, {found.int8_mac_share:.1%} of the MACs in INT8")
    if found.weights:
        console.print(summary(found.weights), markup=False, highlight=False)
    if sparsity:
        render_patterns(found.weights, console)
    repairs = [f"TensorRT gets it so: {line}" for line in found.repairs]
    for line in [*found.limits, *found.notes, *repairs]:
        console.print(f"- {line}", markup=False)
    render_summaries(found.engines, console)
    for target in found.targets.values():
        render_bounds(target, console, top)
