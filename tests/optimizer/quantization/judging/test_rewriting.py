"""A rewrite called exact is verified on the graph at hand, and undone where it is not."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir
import pytest

from optimizer.quantization.codes.scheme import TENSORRT
from optimizer.quantization.corrections.equalization import EqualizeActivations
from optimizer.quantization.judging.rewriting import Step, rewritten
from optimizer.quantization.placement.place import place
from tests.optimizer.quantization.models import HEAD, normal, parse
from tests.optimizer.quantization.running import answers


def chain(length: int = 6) -> ir.Model:
    body = "".join(f"v{k + 1} = Add(v{k}, by{k})\n" for k in range(length))
    weights = {f"by{k}": np.array([1.0], np.float32) for k in range(length)}
    inputs = "".join(f", float[1] by{k}" for k in range(length))
    return parse(f"{HEAD} g (float[4] v0{inputs}) => (float[4] v{length}) {{ {body} }}", weights)


class Rescale:
    """Multiplies constants by ``factors``; a factor of one is exact."""

    def __init__(self, factors: dict[str, float]) -> None:
        self.factors = factors

    def apply(self, model: ir.Model) -> dict[str, str]:
        self.redo(model, self.factors)
        return {place: f"{place} rescaled" for place in self.factors}

    def redo(self, model: ir.Model, places: Collection[str]) -> None:
        for name in places:
            value = model.graph.initializers[name]
            assert value.const_value is not None
            value.const_value = ir.Tensor(value.const_value.numpy() * np.float32(self.factors[name]), name=name)


FEEDS = [{"v0": np.arange(4, dtype=np.float32)}]


@pytest.mark.parametrize("wrong", [set(), {"by3"}, {"by0", "by4"}, {f"by{k}" for k in range(6)}])
def test_places_that_differ_are_found_and_undone_and_the_others_kept(wrong: set[str]) -> None:
    model = chain()
    factors = {f"by{k}": 1.5 if f"by{k}" in wrong else 1.0 for k in range(6)}
    changed, notes = rewritten(model, [Step("rescaling", lambda _: Rescale(factors))], FEEDS)
    undone = [note for note in notes if note.startswith("undone")]
    assert {note for note in notes if note not in undone} == {
        f"by{k} rescaled" for k in range(6) if f"by{k}" not in wrong
    }
    assert len(undone) == min(len(wrong), 5) or (len(wrong) == 6 and "everywhere" in undone[0])
    np.testing.assert_array_equal(answers(changed, FEEDS, fused=False)[0]["v6"], FEEDS[0]["v0"] + 6)


def padded_windows() -> ir.Model:
    """Rows of zeros around the data, a product, and rows brought to length one: 1e-7 in place of a zero is no zero."""
    return parse(
        f"""{HEAD} g (float[1,48,32] x, int64[6] pads, float zero, float[32,32] w, float tiny, int64[1] last) => (float[1,64,32] y) {{
            e = Exp(x)
            p = Pad(e, pads, zero)
            q = MatMul(p, w)
            s = ReduceSumSquare(q, last)
            r = Sqrt(s)
            m = Max(r, tiny)
            y = Div(q, m)
        }}""",
        {
            "pads": np.array([0, 0, 0, 0, 16, 0], np.int64),
            "zero": np.array(0, np.float32),
            "w": normal(32, 32),
            "tiny": np.array(1e-12, np.float32),
            "last": np.array([-1], np.int64),
        },
    )


def test_a_shift_that_makes_something_of_exact_zeros_is_undone() -> None:
    model = padded_windows()
    width = np.ones(32, np.float32)
    width[[3, 17]] = 3
    feeds = [{"x": normal(1, 48, 32, seed=k, scale=1.0) * width} for k in range(12)]
    points = place(model, scheme=TENSORRT, keep_float={}).activations
    before = answers(model, feeds[:2], fused=False)
    alone = model.clone()
    assert EqualizeActivations(points, feeds).apply(alone), "it would pay"
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(answers(alone, feeds[:1], fused=False)[0]["y"], before[0]["y"], atol=1e-3)
    step = Step("channels", lambda _: EqualizeActivations(points, feeds))
    changed, notes = rewritten(model, [step], feeds[:2])
    assert any(note.startswith("undone: channels") and "differs" in note for note in notes)
    np.testing.assert_array_equal(answers(changed, feeds[:1], fused=False)[0]["y"], before[0]["y"])
