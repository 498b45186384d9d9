"""Weights that lie in files beside the model, in memory: mapped when read, unmapped when done with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import onnx_ir as ir

from graphs.errors import BadInput
from graphs.reading.operators import is_standard
from graphs.storage.model_files import read_message

SMALL_BYTES = 4096
"""Most bytes of a tensor that may be a shape or a scalar, which inference has to see. Chosen."""


def read_graph(path: Path) -> ir.Model:
    """The graph in a file that may have been touched since it was written, its weights left there.

    Raises ``BadInput`` for a file that cannot be read or holds no graph.
    """
    try:
        model = ir.from_proto(read_message(path))
    except (ValueError, TypeError, KeyError, ir.serde.SerdeError):  # another message can parse as an empty one
        raise BadInput("holds no graph", where=str(path), expected="an ONNX model") from None
    assert isinstance(model, ir.Model)
    ir.external_data.set_base_dir(model.graph, path.parent)
    return model


def mapped_weights(model: ir.Model) -> Iterator[tuple[ir.Value, ir.ExternalTensor]]:
    """The initializers, subgraphs' included, that lie in files and are mapped when read."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                yield value, value.const_value


def settle_constants(model: ir.Model) -> None:
    """Constants that lie in files become initializers, and stay mapped; other tensor attributes are read.

    Only initializers are looked for beside a model that is saved elsewhere, or checked in memory.
    """
    for graph in model.graphs():
        for node in list(graph):
            stored = [a for a in node.attributes.values() if isinstance(a.value, ir.ExternalTensor)]
            if stored and node.op_type == "Constant" and is_standard(node) and not node.outputs[0].is_graph_output():
                _as_initializer(node, stored[0].value)
                continue
            for attribute in stored:
                tensor = attribute.as_tensor()
                read = ir.Tensor(tensor.numpy().copy(), dtype=tensor.dtype, name=tensor.name)
                node.attributes[attribute.name] = ir.AttrTensor(attribute.name, read)


def _as_initializer(constant: ir.Node, stored: ir.ExternalTensor) -> None:
    output, graph = constant.outputs[0], constant.graph
    assert isinstance(graph, ir.Graph) and output.name is not None
    tensor = ir.ExternalTensor(  # of its own name: a function called twice has one tensor in two constants
        stored.location, stored.offset, stored.length, stored.dtype, shape=ir.Shape(stored.shape.numpy()),
        name=output.name, base_dir=stored.base_dir,
    )  # fmt: skip
    value = ir.Value(name=output.name, type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor)
    output.replace_all_uses_with(value)
    graph.remove(constant, safe=True)
    graph.register_initializer(value)


def load_small(model: ir.Model) -> None:
    """Read initializers of up to ``SMALL_BYTES`` into memory."""
    for value, tensor in mapped_weights(model):
        if tensor.nbytes <= SMALL_BYTES:
            value.const_value = ir.Tensor(tensor.numpy().copy(), dtype=tensor.dtype, name=value.name)
            tensor.release()


def release_weights(model: ir.Model) -> None:
    """Unmap weights that lie in files; they are mapped again when next read. Resident memory falls by their size."""
    for _, tensor in mapped_weights(model):
        with suppress(BufferError):  # an array of it is in use somewhere
            tensor.release()
