"""Graphs in memory handed to a runtime through files, whose weights it maps by itself.

A job opens dozens of graphs that share most of their weights. Within ``keeping_weights`` one that comes a second time
is written to a file that stays as long as the weight does, and from then on a graph only refers to it.
"""

from __future__ import annotations

import itertools
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import onnx_ir as ir

from graphs.storage.mapped_weights import release_weights
from graphs.storage.saving import ONE_AT_A_TIME, SINGLE_FILE_BYTES, weight_bytes, writing

_SMALL_BYTES = 1024
"""Weights up to this size are part of the graph's message. Chosen: a reference to one takes a tenth of that."""
_ALIGNED = 64
"""Bytes that every weight begins at a multiple of: what vector instructions like to load."""


@contextmanager
def keeping_weights() -> Iterator[None]:
    """Until it ends, weights of graphs that are ``stored`` again and again are written once, whichever thread does it;
    where several keep them at a time, until the last ends.
    """
    global _kept
    with ONE_AT_A_TIME:
        _kept = kept = _kept or _Folder()
        kept.users += 1
    try:
        yield
    finally:
        with ONE_AT_A_TIME:
            kept.users -= 1
            if not kept.users:
                _kept = None
                kept.close()


@contextmanager
def stored(model: ir.Model) -> Iterator[Path]:
    """``model`` in a temporary folder with its weights beside it, where ONNX Runtime maps them by itself.

    May be called from several threads. Raises ``BadInput`` where that folder cannot be written or is full.
    """
    with ExitStack() as stack:
        with writing(Path(tempfile.gettempdir()) / "model.onnx", "set TMPDIR to a folder with more"), ONE_AT_A_TIME:
            folder = stack.enter_context(nullcontext(_kept) if _kept is not None else _Folder())
            own = folder.written(model)
        stack.callback(_remove, own)
        if weight_bytes(model) > SINGLE_FILE_BYTES:  # several threads may be reading those of a small one
            release_weights(model)
        yield own[0]


@dataclass
class _Place:
    """Where a weight lies; ``file`` is None for one that was seen once and has no lasting place."""

    weight: weakref.ref[ir.TensorProtocol]
    file: str | None = None
    offset: int = 0


@dataclass
class _Folder:
    """A temporary folder of graphs and their weights; a context manager."""

    users: int = 0
    _places: dict[int, _Place] = field(default_factory=dict)  # by the weight's id, which is its own while it lives
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="enginewright-graph-")
        self._path = Path(self._folder.name)

    def __enter__(self) -> _Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._folder.cleanup()

    def written(self, model: ir.Model) -> list[Path]:
        """The file of ``model`` and, where it has any, that of weights it alone refers to."""
        self._forget()
        number = next(self._numbers)
        weights = [value.const_value for value in _values_apart(model) if value.const_value is not None]
        new = list({id(weight): weight for weight in weights if self._file_of(weight) is None}.values())
        again = [weight for weight in new if id(weight) in self._places]
        first = [weight for weight in new if id(weight) not in self._places]
        lasting, passing = f"{number}.kept.data", f"{number}.data"
        own = [self._path / f"{number}.onnx", self._path / passing]
        offsets = self._write(again, lasting)
        for weight, offset in zip(again, offsets, strict=True):
            self._places[id(weight)] = _Place(weakref.ref(weight), lasting, offset)
        mine = dict(zip(map(id, first), self._write(first, passing), strict=True))
        try:
            copy = _with_weights(model, [self._reference(weight, passing, mine) for weight in weights])
            own[0].write_bytes(ir.to_proto(copy).SerializeToString())
        except BaseException:
            _remove(own)
            raise
        self._places |= {id(weight): _Place(weakref.ref(weight)) for weight in first}
        return own

    def _reference(self, weight: ir.TensorProtocol, passing: str, mine: dict[int, int]) -> ir.ExternalTensor:
        file, offset = passing, mine.get(id(weight), 0)
        if id(weight) not in mine:
            known = self._places[id(weight)]
            file, offset = str(known.file), known.offset
        return ir.ExternalTensor(
            file,
            offset,
            weight.nbytes,
            weight.dtype,
            shape=ir.Shape(weight.shape.numpy()),
            name=str(weight.name),
            base_dir=self._path,
        )

    def _file_of(self, weight: ir.TensorProtocol) -> str | None:
        known = self._places.get(id(weight))
        return known.file if known is not None else None

    def _write(self, weights: Sequence[ir.TensorProtocol], name: str) -> list[int]:
        """Write ``weights``, one at a time in memory, to the file ``name``; returns where each begins."""
        if not weights:
            return []
        offsets, path = [], self._path / name
        try:
            with path.open("wb") as file:
                for weight in weights:
                    file.seek(-(-file.tell() // _ALIGNED) * _ALIGNED)
                    offsets.append(file.tell())
                    file.write(weight.tobytes())
        except BaseException:  # half a file on a full disk
            _remove([path])
            raise
        return offsets

    def _forget(self) -> None:
        """Weights that are gone, and files that hold no others."""
        gone = {key for key, place in self._places.items() if place.weight() is None}
        files = {self._places.pop(key).file for key in gone} - {None}
        for name in files - {place.file for place in self._places.values()}:
            _remove([self._path / str(name)])


_kept: _Folder | None = None


def _values_apart(model: ir.Model) -> list[ir.Value]:
    """The values whose weights are not part of the message."""
    values = (value for graph in model.graphs() for value in graph.initializers.values())
    return [value for value in values if value.const_value is not None and _may_lie_apart(value.const_value)]


def _with_weights(model: ir.Model, tensors: Sequence[ir.TensorProtocol]) -> ir.Model:
    """``model`` with ``tensors`` in place of the weights of ``_values_apart``, to be serialized. The model itself stays
    as it is: another thread may be reading or copying it.
    """
    values, graph = _values_apart(model), model.graph
    if any(value.graph is not graph for value in values):  # weights of branches and loops: as rare as it is slow
        copy = model.clone()
        for value, tensor in zip(_values_apart(copy), tensors, strict=True):
            value.const_value = tensor
        return copy
    placed = dict(zip(map(id, values), tensors, strict=True))
    initializers = [
        ir.Value(
            name=value.name, type=value.type, shape=value.shape, const_value=placed.get(id(value), value.const_value)
        )
        for value in graph.initializers.values()
    ]
    view = ir.GraphView(
        graph.inputs,
        graph.outputs,
        nodes=graph,
        initializers=initializers,
        doc_string=graph.doc_string,
        opset_imports=graph.opset_imports,
        name=graph.name,
        metadata_props=graph.metadata_props,
    )
    return ir.Model(
        cast(ir.Graph, view),  # which is all that serializing asks of
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        domain=model.domain,
        model_version=model.model_version,
        doc_string=model.doc_string,
        functions=list(model.functions.values()),
        metadata_props=model.metadata_props,
    )


def _may_lie_apart(weight: ir.TensorProtocol) -> bool:
    """Or must: one that is mapped from a file elsewhere is a reference to that, whatever its size."""
    large = weight.dtype is not ir.DataType.STRING and weight.nbytes > _SMALL_BYTES
    return large or isinstance(weight, ir.ExternalTensor)


def _remove(files: Sequence[Path]) -> None:
    for file in files:
        with suppress(OSError):  # it may be open still, where the system does not let go of such a file
            file.unlink(missing_ok=True)
