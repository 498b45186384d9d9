"""Other tools' INT8 of the same exports: ``python -m studies.breadth.baselines MODELS ROWS.jsonl [--below 20]``.

MODELS is the folder of ``studies.breadth.architectures`` (``NAME.onnx``, ``NAME.npz``, ``NAME.held.npz``), ROWS.jsonl
what it wrote. For every model whose INT8 graph has less than ``--below`` dB onnxruntime and Model Optimizer quantize
the same file on the same data and are judged on the held-back samples that ours was judged on; the table that is
printed puts their SQNR beside ours: a random network that amplifies noise does so for everybody. Needs the environment
of ``studies/baselines/README.md``. Each quantization runs in a process of its own; ``--cells FILE`` keeps what was
measured, so that the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnx_ir as ir

from engines.engine import Feed
from engines.processes.child_process import run_child
from graphs.reading.macs import int8_mac_share
from optimizer.equivalence import Answers
from studies.baselines.tool import Request, cells, load_tool
from studies.breadth.row import Row, read

TOOLS = ("onnxruntime", "modelopt")
LIMIT_S = 240.0  # seconds a tool may take for a model


@dataclass(frozen=True)
class Cell:
    """One model by one configuration of one tool: ``sqnr_db`` of its worst output with Q/DQ executed in float, and the
    share of MACs in INT8; both None where ``failure`` says why there is no graph."""

    model: str
    tool: str
    configuration: str
    sqnr_db: float | None = None
    int8_mac_share: float | None = None
    failure: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _arguments(arguments)
    if asked.cell:
        tool, configuration, out = asked.cell
        print(msgspec.json.encode(_measure(asked.models, asked.name, tool, configuration, Path(out))).decode())
        return 0
    ours = [row for row in read(asked.rows) if row.judged_db is not None and row.judged_db < asked.below]
    known = {(cell.model, cell.tool, cell.configuration): cell for cell in _read(asked.cells)}
    for row in ours:
        for tool, configuration in cells(TOOLS):
            if configuration in load_tool(tool).FOR_CPU or (row.name, tool, configuration) in known:
                continue
            cell = _apart(asked.models, row.name, tool, configuration)
            known[row.name, tool, configuration] = cell
            with asked.cells.open("ab") as file:
                file.write(msgspec.json.encode(cell) + b"\n")
    print(table(ours, list(known.values())))
    return 0


def table(ours: Sequence[Row], measured: Sequence[Cell]) -> str:
    """A line per model: our SQNR and share, every tool's best configuration, and the difference to the best of all."""
    lines = ["| model | ours | share | onnxruntime | modelopt | ours − best |", "|---|--:|--:|--:|--:|--:|"]
    for row in ours:
        assert row.judged_db is not None
        best = {tool: _best(measured, row.name, tool) for tool in TOOLS}
        reached = [cell.sqnr_db for cell in best.values() if cell is not None and cell.sqnr_db is not None]
        ahead = f"{row.judged_db - max(reached):+.1f}" if reached else "–"
        share = "–" if row.int8_mac_share is None else f"{row.int8_mac_share:.0%}"
        cols = " | ".join(_shown(best[tool]) for tool in TOOLS)
        lines.append(f"| {row.name} | {row.judged_db:.1f} | {share} | {cols} | {ahead} |")
    return "\n".join(lines)


def _shown(cell: Cell | None) -> str:
    if cell is None or cell.sqnr_db is None:
        return "fails"
    share = "–" if cell.int8_mac_share is None else f"{cell.int8_mac_share:.0%}"
    return f"{cell.sqnr_db:.1f} ({cell.configuration}, {share})"


def _best(measured: Sequence[Cell], model: str, tool: str) -> Cell | None:
    found = [c for c in measured if (c.model, c.tool) == (model, tool) and c.sqnr_db is not None]
    return max(found, key=lambda cell: cell.sqnr_db or -np.inf, default=None)


def _apart(models: Path, name: str, tool: str, configuration: str) -> Cell:
    """``_measure`` in a child process: a tool that crashes or hangs is a failed cell."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [str(models), "-", "--name", name, "--cell", tool, configuration, f"{folder}/out.onnx"]
        try:
            done = run_child("studies.breadth.baselines", *arguments, limit_s=LIMIT_S)
        except TimeoutError:
            return Cell(name, tool, configuration, failure=f"no end within {LIMIT_S:.0f} s")
    if done.code or not done.output.strip():
        return Cell(name, tool, configuration, failure=done.last_words[:200])
    return msgspec.json.decode(done.output.strip().splitlines()[-1], type=Cell)


def _measure(models: Path, name: str, tool: str, configuration: str, out: Path) -> Cell:
    model = models / f"{name}.onnx"
    original = Answers.of(model, list(_feeds(model, models / f"{name}.held.npz")))
    chosen = load_tool(tool)
    chosen.load()
    everything = list(_feeds(model, models / f"{name}.npz"))
    chosen.quantize(Request(model, everything, out, configuration, transformer=False))
    found = original.compare(out, fuse_qdq=False)
    shapes = {key: array.shape for key, array in everything[0].items()}
    if not np.isfinite(found.sqnr_db):
        return Cell(name, tool, configuration, failure=found.why)
    return Cell(name, tool, configuration, round(found.sqnr_db, 2), int8_mac_share(ir.load(out), shapes))


def _feeds(model: Path, data: Path) -> Iterator[Feed]:
    """The rows of ``data`` as feeds of the model's batch (one sample where it is dynamic)."""
    proto = onnx.load(model, load_external_data=False)
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in constants]
    first = {v.name: v.type.tensor_type.shape.dim[0].dim_value if v.type.tensor_type.shape.dim else 0 for v in inputs}
    with np.load(data, allow_pickle=False) as arrays:
        values = {name: arrays[name] for name in first}
    rows = max(len(array) for array in values.values() if array.ndim)
    size = max([1, *(n for name, n in first.items() if n and values[name].ndim and len(values[name]) == rows)])
    for start in range(0, rows, size):
        yield {
            name: array[start : start + size] if array.ndim and len(array) == rows else array
            for name, array in values.items()
        }


def _read(path: Path) -> Iterator[Cell]:
    if path.is_file():
        yield from (msgspec.json.decode(line, type=Cell) for line in path.read_bytes().splitlines() if line.strip())


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, help="folder of NAME.onnx, NAME.npz and NAME.held.npz")
    parser.add_argument("rows", type=Path, help="JSON lines of studies.breadth.architectures")
    parser.add_argument("--below", type=float, default=20.0, help="dB under which a model is compared (20)")
    parser.add_argument("--cells", type=Path, default=Path("baselines.jsonl"), help="what is measured is kept here")
    parser.add_argument("--name", default="", help=argparse.SUPPRESS)
    parser.add_argument("--cell", nargs=3, default=None, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
