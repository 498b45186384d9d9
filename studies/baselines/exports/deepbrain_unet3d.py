"""deepbrain's frozen TensorFlow graph to ONNX. Runs in an environment of its own that has TensorFlow and tf2onnx:
``python deepbrain_unet3d.py graph.pb model.onnx``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tensorflow as tf
import tf2onnx

OPSET = 15  # what tf2onnx writes by default
SHAPE = (None, 128, 128, 128, 1)


def main() -> None:
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString(source.read_bytes())
    tf2onnx.convert.from_graph_def(
        for_inference(graph),
        input_names=["img:0"],
        output_names=["prob:0"],
        opset=OPSET,
        output_path=str(out),
    )
    rename_interface(out)


def for_inference(graph: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
    """A fed input in place of the training pipeline, and every dropout's conditional replaced by what goes into it."""
    nodes = {node.name: node for node in graph.node}
    found = tf.compat.v1.GraphDef(versions=graph.versions)
    for node in graph.node:
        if node.name == "img":
            found.node.append(_placeholder())
        elif node.op == "Merge" and node.name.endswith("/cond/Merge"):
            data = nodes[f"{node.name.removesuffix('Merge')}Identity/Switch"].input[0]
            attributes = {"T": node.attr["T"]}
            found.node.append(tf.compat.v1.NodeDef(name=node.name, op="Identity", input=[data], attr=attributes))
        else:
            found.node.append(node)
    return tf.compat.v1.graph_util.extract_sub_graph(found, ["prob"])


def _placeholder() -> tf.compat.v1.NodeDef:
    placeholder = tf.compat.v1.NodeDef(name="img", op="Placeholder")
    placeholder.attr["dtype"].type = tf.float32.as_datatype_enum
    placeholder.attr["shape"].shape.CopyFrom(tf.TensorShape(SHAPE).as_proto())
    return placeholder


def rename_interface(path: Path) -> None:
    """tf2onnx keeps TensorFlow's ``img:0``; the comparison knows ``img`` and ``prob``."""
    import onnx

    model = onnx.load(path)
    names = {"img:0": "img", "prob:0": "prob"}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*model.graph.input, *model.graph.output):
        value.name = names.get(value.name, value.name)
    onnx.save(model, path)


if __name__ == "__main__":
    main()
