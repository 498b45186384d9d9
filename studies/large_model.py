"""Memory of the way from import to a typed file, on a model larger than protobuf's 2 GiB.

    python -m studies.large_model [--gigabytes 2.2] [--folder DIR] [-- COMMAND ...]

makes a transformer encoder with distinct random weights in external data, runs the child (by default: import, clean,
FP16, save) and reports the child's peak memory against the weights' size. A ``COMMAND`` of your own, for example
``optimize MODEL --precision int8 --data random``, gets the model's path in place of ``MODEL``. Exits 1 above 2.5 times.
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

HIDDEN = 1536  # width of its layers
LIMIT = 2.5  # times the model's size that peak memory may be: the exit status says whether
_CHUNK = 1 << 22  # elements written at once

# Run as a child so that its peak is its own.
_IMPORT_TYPE_SAVE = """
import sys
from pathlib import Path
from optimizer.importing import import_model
from optimizer.passes.clean import clean
from optimizer.passes.half_precision.graph import HalfPrecision
from graphs.storage.saving import save_model
source = Path(sys.argv[1])
model = import_model(source).model
clean(model)
HalfPrecision().apply(model)
save_model(model, source.with_name("typed.onnx"), single_file_bytes=0)
"""


@dataclass
class _Graph:
    """Nodes so far, and the shapes of the weights they read in file order."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def add(self, op_type: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], name=output, **attributes))
        return output

    def weight(self, name: str, *shape: int) -> str:
        self.weights[name] = shape
        return name

    def linear(self, data: str, name: str, inputs: int, outputs: int) -> str:
        product = self.add("MatMul", [data, self.weight(f"{name}.weight", inputs, outputs)], f"{name}.matmul")
        return self.add("Add", [product, self.weight(f"{name}.bias", outputs)], name)

    def norm(self, data: str, name: str) -> str:
        gain, shift = self.weight(f"{name}.gain", HIDDEN), self.weight(f"{name}.shift", HIDDEN)
        return self.add("LayerNormalization", [data, gain, shift], name)


def make_large_model(path: Path, weight_bytes: int, *, seed: int = 0) -> int:
    """Write an FP32 encoder of at least ``weight_bytes`` to ``path`` and its weights beside it; returns their bytes.

    Input ``tokens`` [batch, sequence, 1536] float32, output ``y`` of the same shape; opset 17, so that import converts.
    Weights are written in chunks: making the model needs no more memory than one chunk.
    """
    graph = _Graph()
    data, layers = "tokens", math.ceil(weight_bytes / (12 * HIDDEN * HIDDEN * 4))
    for layer in range(layers):
        data = _block(graph, data, f"layer{layer}")
    graph.add("Identity", [data], "y")
    location = f"{path.name}.data"
    tensors = _write_weights(path.with_name(location), graph.weights, np.random.default_rng(seed))
    shape: list[str | int | None] = ["batch", "sequence", HIDDEN]
    proto = helper.make_graph(
        graph.nodes,
        "encoder",
        [helper.make_tensor_value_info("tokens", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        list(tensors),
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path.with_name(location).stat().st_size


def _block(graph: _Graph, data: str, name: str) -> str:
    """Pre-norm attention with one head, and a feed-forward network with the erf form of GELU."""
    normed = graph.norm(data, f"{name}.norm1")
    query, key, value = (graph.linear(normed, f"{name}.{part}", HIDDEN, HIDDEN) for part in ("q", "k", "v"))
    turned = graph.add("Transpose", [key], f"{name}.turned", perm=[0, 2, 1])
    scores = graph.add("Softmax", [graph.add("MatMul", [query, turned], f"{name}.qk")], f"{name}.scores", axis=-1)
    mixed = graph.linear(graph.add("MatMul", [scores, value], f"{name}.mixed"), f"{name}.out", HIDDEN, HIDDEN)
    data = graph.add("Add", [data, mixed], f"{name}.residual1")
    wide = graph.linear(graph.norm(data, f"{name}.norm2"), f"{name}.up", HIDDEN, 4 * HIDDEN)
    curve = graph.add("Erf", [wide], f"{name}.erf")
    gelu = graph.add("Mul", [wide, curve], f"{name}.gelu")
    return graph.add("Add", [data, graph.linear(gelu, f"{name}.down", 4 * HIDDEN, HIDDEN)], f"{name}.residual2")


def _write_weights(
    path: Path, shapes: dict[str, tuple[int, ...]], generator: np.random.Generator
) -> Iterator[TensorProto]:
    offset = 0
    with path.open("wb") as file:
        for name, shape in shapes.items():
            size = math.prod(shape)
            for start in range(0, size, _CHUNK):
                count = min(_CHUNK, size - start)
                values = generator.standard_normal(count, dtype=np.float32) * np.float32(shape[0] ** -0.5)
                file.write(values.tobytes())
            tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", path.name), ("offset", offset), ("length", size * 4)):
                tensor.external_data.add(key=key, value=str(value))
            offset += size * 4
            yield tensor


def peak_bytes_of(command: Sequence[str]) -> int:
    """Run ``command`` and return the largest resident size any child of this process reached, in bytes."""
    subprocess.run(command, check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> int:
    parser = argparse.ArgumentParser(description="Peak memory of typing a model larger than 2 GiB.")
    parser.add_argument("--gigabytes", type=float, default=2.2)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("command", nargs="*", help="MODEL stands for the model's path")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "large.onnx"
        size = make_large_model(path, int(arguments.gigabytes * 1e9))
        command = [str(path) if word == "MODEL" else word for word in arguments.command]
        start = time.perf_counter()
        peak = peak_bytes_of(command or [sys.executable, "-c", _IMPORT_TYPE_SAVE, str(path)])
        seconds = time.perf_counter() - start
    print(f"weights {size / 1e9:.2f} GB, peak {peak / 1e9:.2f} GB = {peak / size:.2f} x, {seconds:.1f} s")
    return int(peak > LIMIT * size)


if __name__ == "__main__":
    sys.exit(main())
