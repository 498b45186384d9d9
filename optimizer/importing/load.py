"""Read an ONNX file, refuse what nothing downstream can take, and bring the rest to one form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common

from graphs.errors import BadInput
from graphs.library_logs import quiet
from graphs.storage.external_data import check_external_data
from graphs.storage.mapped_weights import load_small, settle_constants
from graphs.storage.model_files import model_bytes, model_digest, read_message
from graphs.writing.node_names import name_nodes
from optimizer.importing.batchwise import count_steps_first
from optimizer.importing.checks import check_graph, check_with_onnx, notes_on
from optimizer.importing.equations import normalize_equations
from optimizer.importing.float32 import compute_in_float32
from optimizer.importing.functions import inline_functions
from optimizer.importing.interface import check_interface
from optimizer.importing.newer import bring_down
from optimizer.importing.sparse import densify
from optimizer.importing.survey import Survey, check_scales, survey
from optimizer.importing.versions import conversion, convert_to_current, settle_opset
from optimizer.passes.dialects.runtime_operators import bring_home, settle_quantizers

_NOT_PARAMETERS = {ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL, ir.DataType.STRING}


@dataclass(frozen=True)
class ImportedModel:
    """A checked model. ``digest`` is the hex SHA-256 over the file and its external data; ``bytes`` their size;
    ``parameters`` the number of weight elements; ``notes`` what a user should know about the import;
    ``conversion`` is the one of them that tells from which opset to which, empty where the opset stayed,
    ``opset`` the file's own.
    ``quantization`` is what it says of its own 8-bit codes, None for a float model.
    """

    model: ir.Model
    path: Path
    digest: str
    bytes: int
    parameters: int
    notes: tuple[str, ...]
    conversion: str = ""
    opset: int = 0
    quantization: Survey | None = None


def import_model(path: Path, *, widen: bool = True) -> ImportedModel:
    """Read any ONNX file without loading external weights. ``widen=False`` leaves floats in the types they have.

    Functions are inlined, sparse tensors dense, initializers no longer graph inputs, nodes stand in order, the opset is
    21 where it can be (``convert_to_current``, ``bring_down``), floats are float32 (``compute_in_float32``) and every
    node has a unique, stable name. Raises ``BadInput`` for what is not a runnable ONNX model, naming the node, tensor
    or file at fault.
    """
    path = Path(path)
    where = str(path)
    proto = read_message(path)
    check_interface(proto, where)
    check_external_data(proto, path)
    made_dense = densify(proto, path.resolve().parent, where)
    model = _deserialize(proto, where)
    ir.external_data.set_base_dir(model.graph, path.resolve().parent)
    for function in model.functions.values():
        ir.external_data.set_base_dir(function.graph, path.resolve().parent)
    check_graph(model, where)
    declared = settle_opset(model, where)
    notes = [*made_dense, *_normalize(model, where, widen)]
    check_scales(model, where)
    quantization = survey(model)
    notes += [quantization.told()] if quantization is not None else []
    return ImportedModel(
        model=model,
        path=path,
        digest=model_digest(path),
        bytes=model_bytes(path),
        parameters=count_parameters(model),
        notes=tuple(notes),
        conversion=conversion(declared),
        opset=declared,
        quantization=quantization,
    )


def _deserialize(proto: onnx.ModelProto, where: str) -> ir.Model:
    """Bytes of other formats can parse as an empty message, so an absent graph is the sign of a foreign file."""
    if not proto.HasField("graph") or proto.ir_version == 0:
        raise BadInput("not an ONNX model: it has no graph", where=where, expected="a serialized onnx.ModelProto")
    try:
        with quiet():  # onnx_ir warns about wiring that check_with_onnx refuses
            return ir.from_proto(proto)
    except (ValueError, TypeError, KeyError, RuntimeError, NotImplementedError, ir.serde.SerdeError) as error:
        raise BadInput(f"malformed ONNX graph: {_root_cause(error)}", where=where) from error


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _normalize(model: ir.Model, where: str, widen: bool) -> list[str]:
    notes = notes_on(model)
    notes += inline_functions(model, where)
    settle_constants(model)
    load_small(model)
    inputs = len(model.graph.inputs)
    common.RemoveInitializersFromInputsPass()(model)
    if removed := inputs - len(model.graph.inputs):
        notes.append(f"{removed} graph inputs have initializers and are constants now")
    _sort(model, where)
    name_nodes(model)
    notes += bring_home(model)
    if not any(node.version for graph in model.graphs() for node in graph):  # else it is of several opsets by now
        check_with_onnx(model, where, old=True)
    notes += convert_to_current(model, where)
    notes += settle_quantizers(model)
    check_with_onnx(model, where)
    if widen:
        notes += compute_in_float32(model)
    notes += bring_down(model)
    normalize_equations(model)
    notes += count_steps_first(model)
    name_nodes(model)
    return notes


def _sort(model: ir.Model, where: str) -> None:
    """Bring every graph's nodes into an order in which each comes after those it reads."""
    try:
        common.TopologicalSortPass()(model)
    except (ValueError, ir.passes.PassError) as error:
        raise BadInput("its nodes form a cycle", where=where, expected="a graph without cycles") from error


def count_parameters(model: ir.Model) -> int:
    """Number of weight elements: initializers and constants that are not integers used for shapes and indices."""
    total = 0
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None and value.const_value.dtype not in _NOT_PARAMETERS:
                total += math.prod(value.const_value.shape.numpy())
        for node in graph:
            tensor = node.attributes.get("value") if node.op_type == "Constant" else None
            if tensor is not None and tensor.as_tensor().dtype not in _NOT_PARAMETERS:
                total += math.prod(tensor.as_tensor().shape.numpy())
    return total
