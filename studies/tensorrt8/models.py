"""What models lose in the form for TensorRT 8: ``python -m studies.tensorrt8.models --zoo ZOO --networks``.

Each model is quantized as ``optimize --precision int8`` does at its defaults, typed, and lowered. Three graphs are
compared with FP32 on held-back samples: the typed one, simulated; the lowered one as it stands, in ONNX Runtime at
opset 17; and the lowered one simulated with half precision wherever the builder may take it. A row a model goes to
``--out``, and ``--table`` prints the rows there as Markdown.

``--zoo`` is the folder of ``studies.baselines.fetch``; ``--networks`` adds the ResNet-50 and BERT-base of
``studies.builds.networks``, with random weights and inputs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx_ir as ir

from benchmarks.accuracy.compare import Accuracy, compare
from engines.engine import Engine, Feed, batchable
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.storage.saving import save_model
from graphs.tensorrt.tensorrt8.lint import lint_tensorrt8
from optimizer.demo import fashion
from optimizer.importing import import_model
from optimizer.passes.clean import clean
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.simulation.run import simulated
from optimizer.stages.data.inputs import model_inputs
from optimizer.stages.forms.calibrated import AUTO_METHODS
from optimizer.tensorrt8.half_again import half_again
from optimizer.tensorrt8.lowering import lowered_as_far_as_possible
from optimizer.tensorrt8.meaning import same_meaning
from studies.baselines.task import joined, load_task
from studies.baselines.tools.enginewright_tool import TOOL, typed_int8
from studies.builds.networks import NETWORKS

ZOO = ("fashion_resnet14", "mobilenet_v2", "minilm", "yolov3_tiny", "silero_vad", "dlrm_movielens", "deepbrain_unet3d")
BATCH = 8  # samples run together
COMPARED = 2
"""Samples that the meaning is compared on."""
SAMPLES = 64
"""Calibration samples, and held-back ones, of a network with random weights."""


@dataclass(frozen=True)
class Row:
    """SQNR in dB against FP32, of the output that the typed graph keeps worst; ``meaning_db`` is that of the lowered
    graph against the typed one with all in FP32. ``refused`` names what TensorRT 8 would not take."""

    name: str
    nodes: dict[str, int]
    samples: int
    output: str
    typed_db: float
    lowered_db: float
    halves_db: float
    meaning_db: float
    notes: list[str]
    refused: list[str]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, help="folder with models and data")
    parser.add_argument("--networks", action="store_true", help="ResNet-50 and BERT-base with random weights, too")
    parser.add_argument("--models", nargs="*", default=[], help="these alone; the demo's is called demo")
    parser.add_argument("--held", type=int, default=512, help="held-back samples of each model, at most")
    parser.add_argument("--plain", action="store_true", help="one range method and no correction: for large models")
    parser.add_argument("--out", type=Path, default=Path("tensorrt8.jsonl"))
    parser.add_argument("--table", action="store_true", help="print the rows of --out and run nothing")
    asked = parser.parse_args(arguments)
    if not asked.table:
        for name, model, calibration, held in _models(asked.zoo, asked.networks, set(asked.models)):
            row = study(name, model, calibration, held[: asked.held], plain=asked.plain)
            with asked.out.open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")
            print(row, flush=True)
    print(table([Row(**json.loads(line)) for line in asked.out.read_text().splitlines()]))
    return 0


_Model = tuple[str, Path, list[Feed], list[Feed]]


def _models(zoo: Path | None, networks: bool, wanted: set[str]) -> Iterator[_Model]:
    if not wanted or "demo" in wanted:
        model = Path(fashion.__file__).with_name("fashion_resnet.onnx")
        yield "demo", model, _batched(fashion.calibration()), _batched(fashion.held_back())
    with tempfile.TemporaryDirectory() as folder:
        for name in ZOO if zoo is not None else ():
            if zoo is not None and (not wanted or name in wanted):
                task = load_task(name, zoo, Path(folder))
                yield name, zoo / name / "model.onnx", task.calibration(False), task.held_back(False)
        for network in NETWORKS.values() if networks else ():
            if not wanted or network.name in wanted:
                path = Path(folder) / f"{network.name}.onnx"
                network.save(path, 0)
                yield network.name, path, _rows(network.samples(SAMPLES, 1)), _rows(network.samples(SAMPLES, 2))


def _batched(samples: Iterable[Feed]) -> list[Feed]:
    return [{name: array[None] for name, array in sample.items()} for sample in samples]


def _rows(arrays: Feed) -> list[Feed]:
    """The samples of a joined feed, each a batch of one."""
    count = len(next(iter(arrays.values())))
    return [{name: array[i : i + 1] for name, array in arrays.items()} for i in range(count)]


def study(name: str, path: Path, calibration: list[Feed], held: list[Feed], *, plain: bool = False) -> Row:
    """One model: quantized, typed, lowered and judged."""
    typed = _typed(path, calibration, plain)
    lowered = lowered_as_far_as_possible(typed)
    refused = [f"{found.where}: {found.message}" for found in lint_tensorrt8(lowered.model)]
    counts: dict[str, int] = {}
    for dtype in lowered.precisions.values():
        counts[dtype.value] = counts.get(dtype.value, 0) + 1
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        files = {"typed": typed, "lowered": lowered.model, "halves": half_again(lowered)}
        paths = {which: Path(folder) / which / "model.onnx" for which in files}
        for which, model in files.items():
            paths[which].parent.mkdir()
            save_model(model, paths[which])
        engines: dict[str, Engine] = {
            "typed": stack.enter_context(simulated(paths["typed"])),
            "lowered": stack.enter_context(OnnxRuntimeEngine(paths["lowered"], fuse_qdq=False, lean=True)),
            "halves": stack.enter_context(simulated(paths["halves"])),
        }
        reference = stack.enter_context(OnnxRuntimeEngine(path, lean=True))
        feeds = joined(held, BATCH) if batchable(reference.inputs) else held
        found = compare(reference, engines, feeds)
    output = _worst(found["typed"])
    typed_db, lowered_db, halves_db = (round(found[which].outputs[output].sqnr_db, 2) for which in engines)
    return Row(
        name,
        counts,
        len(held),
        output,
        typed_db,
        lowered_db,
        halves_db,
        meaning_db=round(same_meaning(typed, lowered, held[:COMPARED]).sqnr_db, 1),
        notes=list(lowered.notes),
        refused=refused,
    )


def _typed(path: Path, calibration: list[Feed], plain: bool) -> ir.Model:
    model = import_model(path).model
    clean(model)
    largest = max(calibration, key=lambda feed: sum(array.size for array in feed.values()))
    settings = TOOL.settings(model, largest, "entropy-only" if plain else "tensorrt")
    methods = ("entropy",) if plain else AUTO_METHODS
    calibrator = Calibrator(lambda: calibration, batchable(model_inputs(model)), methods)
    return typed_int8(model, calibrator, calibration, settings)


def _worst(accuracy: Accuracy) -> str:
    floats = {name: output for name, output in accuracy.outputs.items() if output.floats}
    return min(floats, key=lambda name: floats[name].sqnr_db)


def table(rows: Sequence[Row]) -> str:
    """As Markdown; of rows of one name the last counts."""
    lines = [
        "| model | nodes | samples | typed, simulated | lowered, as it stands | lowered, FP16 where it may be | "
        "lowered against typed, all in FP32 | written otherwise | refused |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in {row.name: row for row in rows}.values():
        nodes = ", ".join(f"{count} {dtype}" for dtype, count in sorted(row.nodes.items()))
        changed = ", ".join(note.partition(" written in")[0] for note in row.notes if " written in" in note) or "–"
        lines.append(
            f"| {row.name} | {nodes} | {row.samples} | {row.typed_db:.2f} | {row.lowered_db:.2f} | "
            f"{row.halves_db:.2f} | {row.meaning_db:.0f} | {changed} | {len(row.refused) or '–'} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
