"""The tests that ship with the onnx package: models, inputs, and the outputs that are right."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

KINDS = {
    "node": "node",
    "simple": "simple",
    "real": "light",
    "pytorch-converted": "converted",
    "pytorch-operator": "operator",
}
_RANDOM = ("bernoulli", "training_dropout", "random_uniform", "random_normal", "multinomial")
"""Tests of what draws random numbers: their outputs are one draw of many."""


@dataclass(frozen=True)
class Case:
    """One test: a model, and inputs with the outputs that are right."""

    kind: str
    name: str
    model: onnx.ModelProto
    sets: list[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float


def cases(kinds: Sequence[str] = tuple(KINDS)) -> Iterator[Case]:
    """Every test of the onnx package that is installed; light nets too large to ship are left out."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in kinds:
            for test in load_model_tests(kind=kind):
                if any(word in test.name for word in _RANDOM):
                    continue
                if test.model is not None:
                    sets = [(list(given), list(right)) for given, right in test.data_sets or ()]
                    yield Case(KINDS[kind], test.name, test.model, sets, test.rtol, test.atol)
                elif test.model_dir is not None:
                    yield from _of_folder(KINDS[kind], test)
                elif test.url and (file := Path(onnx.__file__).parents[1] / test.url).is_file():
                    yield _light(KINDS[kind], test, file)


def _light(kind: str, test: Any, file: Path) -> Case:
    """A net whose weights are fills, as shipped: its input counts up from 0 to 1, as onnx's own runner has it."""
    model = onnx.load(file)
    taken = [value for value in model.graph.input if value.name in fed(model)]
    shapes = [[d.dim_value for d in value.type.tensor_type.shape.dim] for value in taken]
    inputs = [(np.arange(np.prod(s)).reshape(s) / np.prod(s)).astype(np.float32) for s in shapes]
    output = onnx.load_tensor(file.with_name(f"{file.stem}_output_0.pb"))
    return Case(kind, test.name, model, [(list(inputs), [output])], test.rtol, test.atol)


def fed(model: onnx.ModelProto) -> list[str]:
    """Names of the inputs that the data is for: those of weights are listed, too, in old models."""
    weights = {weight.name for weight in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in weights]


def _of_folder(kind: str, test: Any) -> Iterator[Case]:
    folder = Path(test.model_dir)
    if (folder / "model.onnx").is_file():
        sets = [(_tensors(d, "input"), _tensors(d, "output")) for d in sorted(folder.glob("test_data_set_*"))]
        yield Case(kind, test.name, onnx.load(folder / "model.onnx"), sets, test.rtol, test.atol)


def _tensors(folder: Path, what: str) -> list[Any]:
    files = sorted(folder.glob(f"{what}_*.pb"), key=lambda path: int(path.stem.partition("_")[2]))
    found: list[Any] = []
    for file in files:
        tensor = onnx.TensorProto()
        tensor.ParseFromString(file.read_bytes())
        found.append(numpy_helper.to_array(tensor))
    return found


def is_tensor(value: Any) -> bool:
    """Sequences and optionals are lists or None; the product refuses such a model before its data is asked for."""
    return isinstance(value, (np.ndarray, np.generic, onnx.TensorProto))


def stored(value: Any) -> NDArray[Any]:
    """What the data of a test holds, as an array. numpy files hold no bfloat16: data for such inputs is float32."""
    array = numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
