"""What a search leaves of a repository besides the model that it searched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployment.triton.repository.config import EnsembleStep, TritonModel
from deployment.triton.repository.models import ModelFolder
from optimizer.verbs.deploy.triton.tune import within_its_steps
from tests.deployment.triton.triton_proto import parse


@pytest.mark.parametrize(("searched", "largest"), [(8, 8), (32, 32)])
def test_an_ensemble_takes_no_more_at_once_than_its_engine_after_a_search(
    searched: int, largest: int, tmp_path: Path
) -> None:
    """Triton 2.51 did not load one that did."""

    class Control:
        def load(self, name: str) -> None:
            loaded.append(name)

    loaded: list[str] = []
    engine: Any = None
    models = [
        ModelFolder(TritonModel(name, "python", (), (), size, "model.py"), {}, engine)
        for name, size in (("net_model", searched), ("net_preprocess", 32))
    ]
    steps = tuple(EnsembleStep(model.config.name, {}, {}) for model in models)
    ensemble = replace(models[0], config=TritonModel("net", "ensemble", (), (), 32, "", steps=steps))
    (tmp_path / "net").mkdir()
    control: Any = Control()
    for model in (*models, ensemble):
        found = within_its_steps(tmp_path, model, [*models, ensemble], control)
        assert found.config.max_batch_size == min(model.config.max_batch_size, largest if model is ensemble else 32)
    assert loaded == (["net"] if largest < 32 else [])
    if loaded:
        assert parse(tmp_path / "net/config.pbtxt").max_batch_size == 8
