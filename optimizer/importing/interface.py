"""What goes in and out of a model has to be tensors: maps, sequences and the like are refused with what to do instead.

Looked at in the file itself, for ``onnx_ir`` reads no maps at all.
"""

from __future__ import annotations

import onnx

from graphs.errors import BadInput

_SHOWN = {
    "sequence_type": "a sequence",
    "map_type": "a map",
    "optional_type": "an optional",
    "sparse_tensor_type": "a sparse tensor",
    "opaque_type": "an opaque type",
}
_ZIPMAP = (
    "export without the ZipMap behind the classifier, so that probabilities are a tensor: "
    "to_onnx(model, X, options={'zipmap': False}) in skl2onnx; zipmap=False in onnxmltools"
)
_CUT = "export the model without this pre- or postprocessing, or end it at the tensor before"


def check_interface(proto: onnx.ModelProto, where: str) -> None:
    """Raise ``BadInput`` for a graph input or output that is no tensor; forget what is declared of inner maps."""
    graph = proto.graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    for kind, values in (("input", graph.input), ("output", graph.output)):
        for value in values:
            form = value.type.WhichOneof("value")
            if form in _SHOWN:
                maker = makers.get(value.name, "")
                made = f", made by {maker}" if maker else ""
                raise BadInput(
                    f"{kind} {value.name!r} is {_SHOWN[form]}{made}",
                    where=where,
                    expected="a numeric or boolean tensor",
                    fix=_ZIPMAP if maker == "ZipMap" else _CUT,
                )
    inner = [value for value in graph.value_info if not _holds_map(value.type)]
    if len(inner) != len(graph.value_info):
        del graph.value_info[:]
        graph.value_info.extend(inner)


def _holds_map(kind: onnx.TypeProto) -> bool:
    form = kind.WhichOneof("value")
    if form in ("sequence_type", "optional_type"):
        inner: onnx.TypeProto = getattr(kind, form).elem_type
        return _holds_map(inner)
    return bool(form == "map_type")
