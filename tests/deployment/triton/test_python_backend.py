"""How arrays are handed to Triton's Python backend: on a stand-in of its module, which nobody else can import."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest


class Tensor:
    def __init__(self, name: str, array: Any, way: str = "numpy") -> None:
        self.array, self.way = array, way

    @staticmethod
    def from_dlpack(name: str, capsule: object) -> Tensor:
        return Tensor(name, None, "dlpack")


@pytest.fixture
def tensors(monkeypatch: pytest.MonkeyPatch) -> Any:
    stand_in = ModuleType("triton_python_backend_utils")
    stand_in.Tensor, stand_in.TritonModelException = Tensor, RuntimeError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", stand_in)
    name = "deployment.triton.python_backend.tensors"
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(name)
    sys.modules.pop(name, None)


@pytest.mark.parametrize(("version", "way"), [("1.26.4", "numpy"), ("2.4.6", "dlpack")])
def test_numpy_1_hands_over_no_capsule(tensors: Any, version: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its destructor of one that Triton renamed calls itself until the process ends."""
    monkeypatch.setattr(tensors.np, "__version__", version)
    assert tensors.to_triton("y", np.ones((2, 3), np.float32).T).way == way


def test_text_is_handed_over_as_bytes(tensors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors.np, "__version__", "1.26.4")
    assert tensors.to_triton("label", np.array([["yes"], ["ä"]])).array.tolist() == [[b"yes"], ["ä".encode()]]
