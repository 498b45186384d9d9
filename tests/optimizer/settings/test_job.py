"""Settings are checked, types included, before anything runs."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphs.errors import BadInput
from optimizer import optimize, update
from optimizer.main_job import apply_options
from optimizer.settings.given import model_path
from optimizer.settings.job import Settings


def test_a_model_in_memory_is_told_how_to_be_handed_over() -> None:
    for call in (optimize, partial(update, "bundle")):
        with pytest.raises(BadInput, match="model: dict is given"):
            call({})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"samples": "many"}, "--samples: 'many' is of the wrong type"),
        ({"seed": 1.5}, "--seed: 1.5 is of the wrong type"),
        ({"seed": -1}, "--seed: -1 is negative"),
        ({"jobs": True}, "--jobs: True is of the wrong type"),
        ({"duration": "2"}, "--duration: '2' is of the wrong type"),
        ({"max_drop": 1.5}, "--max-drop: 1.5 is out of range"),
        ({"targets": ["t5"]}, "unknown target 't5'"),
        ({"shapes": ["x"]}, "--shape x: cannot be read"),
        ({"sampels": 3}, "unknown option 'sampels'"),
        ({"data": np.zeros((2, 3))}, "data: ndarray is given"),
        ({"data": [np.zeros(3)]}, "data: list is given"),
        ({"eval_data": (row for row in ())}, "eval_data: generator is given"),
        ({"evaluate": 0.5}, "evaluate: float is given"),
    ],
)
def test_what_cannot_be_used_is_one_message(options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        apply_options(Settings(), options)


def test_a_models_path_may_be_of_any_kind_of_path() -> None:
    class Elsewhere(os.PathLike[str]):
        def __fspath__(self) -> str:
            return "folder/net.onnx"

    assert model_path(Elsewhere()) == model_path("folder/net.onnx") == Path("folder/net.onnx")
