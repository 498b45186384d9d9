"""Models whose inputs or outputs are no tensors, or tensors nobody can feed, get a sentence that helps."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from graphs.errors import BadInput
from optimizer.importing import import_model


def classifier(*, zipmap: bool) -> onnx.ModelProto:
    """scikit-learn's logistic regression as skl2onnx writes it."""
    ml = "ai.onnx.ml"
    nodes = [
        helper.make_node(
            "LinearClassifier", ["x"], ["label", "p"], domain=ml, coefficients=[0.1] * 8, classlabels_ints=[0, 1]
        )
    ]
    outputs = [helper.make_tensor_value_info("label", TensorProto.INT64, ["N"])]
    if zipmap:
        nodes.append(helper.make_node("ZipMap", ["p"], ["probabilities"], domain=ml, classlabels_int64s=[0, 1]))
        maps = onnx.TypeProto()
        maps.sequence_type.elem_type.map_type.key_type = TensorProto.INT64
        maps.sequence_type.elem_type.map_type.value_type.tensor_type.elem_type = TensorProto.FLOAT
        outputs.append(onnx.ValueInfoProto(name="probabilities", type=maps))
    else:
        outputs.append(helper.make_tensor_value_info("p", TensorProto.FLOAT, ["N", 2]))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])]
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid(ml, 1)]
    return helper.make_model(helper.make_graph(nodes, "g", inputs, outputs), opset_imports=opsets, ir_version=8)


def imported(model: onnx.ModelProto, folder: Path) -> tuple[str, ...]:
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return import_model(path).notes


def test_a_zipmap_says_how_to_export_without(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"output 'probabilities' is a sequence, made by ZipMap(.|\n)*'zipmap': False"):
        imported(classifier(zipmap=True), tmp_path)


def test_a_classifier_without_zipmap_is_taken(tmp_path: Path) -> None:
    notes = imported(classifier(zipmap=False), tmp_path)
    assert not any("LinearClassifier" in note for note in notes), "it is spelt out later"


def test_what_a_file_declares_of_inner_maps_is_forgotten(tmp_path: Path) -> None:
    model = classifier(zipmap=True)
    maps = model.graph.output.pop()
    model.graph.value_info.append(maps)
    assert imported(model, tmp_path)


def test_an_input_of_four_bits_is_refused_by_type(tmp_path: Path) -> None:
    text = '<ir_version: 10, opset_import: ["" : 21]> g (int4[4] x) => (float[4] y) { y = Cast<to = 1>(x) }'
    with pytest.raises(BadInput, match=r"input 'x' is of type int4(.|\n)*cast inside the model"):
        imported(onnx.parser.parse_model(text), tmp_path)
