"""Second moments of what enters a weighted op: the Gram matrix ``XᵀX`` that least-squares weight rounding needs.

A row of ``X`` is what one output position multiplies with one filter, in the order of ``weight.reshape(filters, -1)``
(channel, then kernel position), so that ``‖W·X‖² = trace(W·XᵀX·Wᵀ)``. See Frantar et al., "Optimal Brain Compression",
2022. Each sample gives a bounded number of positions, drawn alike for alike shapes, so a Gram matrix does not depend on
how the samples were batched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from calibration.collect import rows_of, stored
from engines.engine import Array, Feed
from engines.errors import BadInput
from engines.onnxruntime_engine import OnnxRuntimeEngine

Rows = npt.NDArray[np.float32]

ROWS_PER_SAMPLE = 256
LARGEST_DIMENSION = 4608  # a 3x3 convolution over 512 channels: 170 MB of float64


@dataclass(frozen=True)
class Gram:
    """``matrix`` is float64 [groups, K, K], the sum over ``rows`` rows of their outer products; K is what one filter
    holds: channels of a group times kernel positions for Conv, the inner dimension for MatMul and Gemm (one group).
    """

    matrix: npt.NDArray[np.float64]
    rows: int


def collect_gram(
    model: ir.Model | Path,
    nodes: Sequence[str],
    samples: Iterable[Feed],
    *,
    joinable: bool,
    rows_per_sample: int = ROWS_PER_SAMPLE,
    transform: Callable[[str, Array], Array] | None = None,
) -> dict[str, Gram]:
    """Gram matrices of the data inputs of ``nodes`` (Conv, or MatMul and Gemm with a constant right side) by name.

    ``transform(tensor, values)`` replaces an activation before its rows are taken, for example by its quantized form.
    Raises ``BadInput`` for a node that is not there, has no such form, or whose K exceeds ``LARGEST_DIMENSION``.
    """
    with stored(model) as path:
        proto = onnx.load(path, load_external_data=False)
        readers = [_reader(proto, name) for name in nodes]
        _keep_only(proto, [reader.tensor for reader in readers])
        onnx.save(proto, path.with_name("tapped.onnx"))
        grams: dict[str, Gram] = {}
        with OnnxRuntimeEngine(path.with_name("tapped.onnx")) as engine:
            for sample in rows_of(samples, joinable):
                values = {**sample, **(engine.infer(sample) if engine.outputs else {})}
                for reader in readers:
                    value = values[reader.tensor]
                    rows = reader.rows(value if transform is None else transform(reader.tensor, value), rows_per_sample)
                    grams[reader.node] = _added(grams.get(reader.node), rows)
    return grams


def _added(gram: Gram | None, rows: Rows) -> Gram:
    """``rows`` is [groups, R, K]; products are exact enough in float32, sums over samples are not."""
    product = np.matmul(rows.transpose(0, 2, 1), rows).astype(np.float64)
    if gram is None:
        return Gram(product, rows.shape[1])
    return Gram(np.add(gram.matrix, product, out=gram.matrix), gram.rows + rows.shape[1])


@dataclass(frozen=True)
class _MatMulReader:
    node: str
    tensor: str
    transposed: bool

    def rows(self, values: Array, count: int) -> Rows:
        flat = values.T if self.transposed else values.reshape(-1, values.shape[-1])
        return np.ascontiguousarray(flat[_spread(len(flat), count)], dtype=np.float32)[None]


@dataclass(frozen=True)
class _ConvReader:
    node: str
    tensor: str
    groups: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto_pad: str

    def rows(self, values: Array, count: int) -> Rows:
        rank = len(self.kernel)
        pads = self._padding(values.shape[2:])
        padded = np.pad(values, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
        reach = tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True))
        windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(2, 2 + rank)))
        steps: list[slice] = [slice(None, None, step) for step in (1, 1, *self.strides, *self.dilations)]
        windows = windows[tuple(steps)]
        positions = (windows.shape[0], *windows.shape[2 : 2 + rank])
        sample, *place = np.unravel_index(_spread(int(np.prod(positions)), count), positions)
        patches = np.moveaxis(windows, 1, 1 + rank)[(sample, *place)]  # [rows, channels, *kernel]
        grouped = patches.reshape(len(patches), self.groups, -1).transpose(1, 0, 2)
        return np.ascontiguousarray(grouped, dtype=np.float32)

    def _padding(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        """Begin pads, then end pads, as the ONNX Conv specification computes them for ``auto_pad``."""
        if self.auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
            return self.pads
        per_axis = zip(spatial, self.kernel, self.strides, self.dilations, strict=True)
        totals = [max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0) for size, k, s, d in per_axis]
        less, more = [total // 2 for total in totals], [total - total // 2 for total in totals]
        return (*less, *more) if self.auto_pad == "SAME_UPPER" else (*more, *less)


def _spread(available: int, wanted: int) -> npt.NDArray[np.int64]:
    """Up to ``wanted`` indices below ``available``, at random (seeded): no row or column is met by its period."""
    count = min(available, wanted)
    return (
        np.random.default_rng(available).choice(available, count, replace=False)
        if count < available
        else np.arange(count)
    )


def _reader(model: onnx.ModelProto, name: str) -> _ConvReader | _MatMulReader:
    node = next((node for node in model.graph.node if node.name == name), None)
    if node is None:
        raise BadInput("the main graph has no such node", where=f"node {name!r}")
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    shape = shapes.get(node.input[1]) if len(node.input) > 1 else None
    if node.op_type not in ("Conv", "MatMul", "Gemm") or shape is None or len(shape) < 2:
        raise BadInput(f"{node.op_type} has no constant weight to round", where=f"node {name!r}")
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    width = _filter_size(node.op_type, shape, attributes)
    if width > LARGEST_DIMENSION:
        raise BadInput(
            f"one filter holds {width} weights", where=f"node {name!r}", expected=f"at most {LARGEST_DIMENSION}"
        )
    if node.op_type != "Conv":
        return _MatMulReader(name, node.input[0], bool(attributes.get("transA", 0)))
    return _conv_reader(node, shape, attributes)


def _filter_size(op: str, shape: tuple[int, ...], attributes: Mapping[str, object]) -> int:
    if op == "Conv":
        return int(np.prod(shape[1:]))
    return shape[-1] if op == "Gemm" and attributes.get("transB", 0) else shape[-2]


def _conv_reader(node: onnx.NodeProto, shape: tuple[int, ...], attributes: Mapping[str, object]) -> _ConvReader:
    rank = len(shape) - 2

    def ints(name: str, count: int, default: int) -> tuple[int, ...]:
        given = attributes.get(name)
        return tuple(int(x) for x in given) if isinstance(given, (list, tuple)) else (default,) * count

    auto_pad = attributes.get("auto_pad", b"NOTSET")
    return _ConvReader(
        node.name,
        node.input[0],
        int(str(attributes.get("group", 1))),
        shape[2:],
        ints("strides", rank, 1),
        ints("dilations", rank, 1),
        ints("pads", 2 * rank, 0),
        auto_pad.decode() if isinstance(auto_pad, bytes) else str(auto_pad),
    )


def _keep_only(model: onnx.ModelProto, tensors: Sequence[str]) -> None:
    inputs = {value.name for value in model.graph.input}
    del model.graph.output[:]
    names = dict.fromkeys(tensor for tensor in tensors if tensor not in inputs)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
