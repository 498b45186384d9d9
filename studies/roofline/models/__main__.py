"""Write one of the graphs as ONNX: ``python -m studies.roofline.models resnet50 resnet50.onnx [--precision int8]``.

Without ``--random`` the weights are zeros in a sparse file, which takes no room on disk: enough for FLOPs and bytes.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from graphs.files import unwritable
from studies.roofline.models.bert import bert_large
from studies.roofline.models.convolutional import resnet50, ssd_mobilenet, ssd_resnet34
from studies.roofline.models.graph import FLOATS

MODELS: dict[str, Callable[[str], ir.Model]] = {
    "resnet50": resnet50,
    "ssd-resnet34": ssd_resnet34,
    "ssd-mobilenet": ssd_mobilenet,
    "bert-large": bert_large,
}
_INLINE_BYTES = 4096  # smaller weights stand in the file: shapes and scalars


def write_shapes(model: ir.Model, path: Path) -> None:
    """Write ``model`` with its weights as holes of ``path``.data: right sizes and types, all zeros."""
    data, offset = path.with_name(f"{path.name}.data"), 0
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is None or tensor.nbytes <= _INLINE_BYTES:
            continue
        length = math.ceil(tensor.nbytes)
        value.const_value = ir.ExternalTensor(
            data.name,
            offset,
            length,
            tensor.dtype,
            shape=ir.Shape(tensor.shape.numpy()),
            name=str(value.name),
            base_dir=path.parent,
        )
        offset += length
    with data.open("wb") as file:
        file.truncate(offset)
    ir.save(model, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 written, 2 bad usage or a folder that cannot be written."""
    parser = argparse.ArgumentParser(prog="python -m studies.roofline.models", description=__doc__)
    parser.add_argument("name", choices=sorted(MODELS))
    parser.add_argument("out", type=Path, metavar="OUT.onnx")
    parser.add_argument("--precision", choices=sorted(FLOATS), default="fp32")
    parser.add_argument("--random", action="store_true", help="write random weights, as large as the model's")
    options = parser.parse_args(arguments)
    model = ShapeInferencePass()(MODELS[options.name](options.precision)).model
    try:
        if options.random:
            ir.save(model, options.out, external_data=f"{options.out.name}.data")
        else:
            write_shapes(model, options.out)
    except OSError as error:
        sys.stderr.write(f"{unwritable(options.out, error)}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
