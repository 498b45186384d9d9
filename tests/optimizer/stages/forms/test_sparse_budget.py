"""The accuracy budget leaves as few layers dense as it takes, those that cost most for what they gain first."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import pytest

from graphs.reading.two_four import two_four_products
from graphs.storage.saving import save_model
from optimizer.events import Events
from optimizer.sparsity.sparsify import How, sparsify
from optimizer.stages.forms import sparse
from optimizer.stages.forms.sparse import SparseGraph
from tests.optimizer.passes.models import drawn

FIVE = "a = MatMul(x, first) " + " ".join(
    f"h{i} = Relu({'a' if i == 0 else f'y{i - 1}'}) [fc{i}] y{i} = MatMul(h{i}, w{i})" for i in range(4)
)


def chain() -> ir.Model:
    """Four products in a row, behind a first one that stays dense."""
    declared = "float[32, 32] first, " + ", ".join(f"float[32, 32] w{i}" for i in range(4))
    text = f"g (float[N, 32] x, {declared}) => (float[N, 32] y3) {{ {FIVE} }}"
    rng = np.random.default_rng(0)
    return drawn(text, lambda _, shape: (rng.standard_normal(shape) / 6).astype(np.float32))


@pytest.mark.parametrize(("allowed", "left"), [(4, 4), (2, 2), (0, 0)])
def test_as_many_layers_stay_sparse_as_the_budget_lets(allowed: int, left: int, tmp_path: Path) -> None:
    """A drop of one for every sparse layer: ``allowed`` of them are within the budget."""
    rng = np.random.default_rng(1)
    feeds = [{"x": rng.standard_normal((1, 32)).astype(np.float32)} for _ in range(32)]
    model = chain()
    made = sparsify(model, feeds, How(macs=5_000))
    save_model(model, tmp_path / "dense.onnx")
    save_model(made.model, tmp_path / "sparse.onnx")
    graph = SparseGraph(tmp_path / "sparse.onnx", tmp_path / "dense2.onnx", "digest", made.nodes, [])
    save_model(made.dense, tmp_path / "dense2.onnx")

    class Checker:
        def check_float(self, path: Path, *, with_task: bool) -> SimpleNamespace:
            return SimpleNamespace(drop=float(len(two_four_products(ir.load(path)))))

    job = SimpleNamespace(
        settings=SimpleNamespace(allowed_drop=allowed / sparse.SHARE),
        inputs=SimpleNamespace(calibration=SimpleNamespace(samples=lambda: feeds)),
    )
    cleaned = SimpleNamespace(path=tmp_path / "dense.onnx", sample_shapes={"x": (1, 32)})
    (tmp_path / "stage").mkdir()
    found = sparse._afforded(job, cleaned, graph, Checker, Events(), tmp_path / "stage").graph  # type: ignore[arg-type]
    if left == 4:
        assert found is None
        return
    assert found is not None
    kept = {name for name, node in found.nodes.items() if node.sparse}
    assert len(kept) == left and kept == two_four_products(ir.load(found.path))
    told = [node.reason for name, node in found.nodes.items() if name.startswith("fc") and name not in kept]
    assert len(told) == 4 - left and all("accuracy budget" in reason for reason in told)
