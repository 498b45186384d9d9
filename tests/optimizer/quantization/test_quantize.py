"""The entry point on whole small models."""
# ruff: noqa: E501 (models as text)

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from optimizer.corrections import ALL, Correction
from optimizer.precision import Dtype
from optimizer.quantization.codes.scheme import TENSORRT, Scheme, for_this_cpu
from optimizer.quantization.corrections.fallback import Allowance
from optimizer.quantization.corrections.input_rows import Rows
from optimizer.quantization.corrections.sensitivity import Sensitivity
from optimizer.quantization.judging.judge import Judge
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.quantize import prepare, quantize
from optimizer.quantization.settings import QuantizeSettings
from tests.optimizer.quantization.models import HEAD_19, conv_weight, normal, normed, parse


def run(model: ir.Model, feed: dict[str, np.ndarray]) -> np.ndarray:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.log_severity_level = 3
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, feed)[
        0
    ]


def sqnr(reference: np.ndarray, value: np.ndarray) -> float:
    return float(10 * np.log10(np.square(reference).sum() / max(np.square(reference - value).sum(), 1e-30)))


def calibrator(feeds: list[dict[str, np.ndarray]]) -> Calibrator:
    return Calibrator(lambda: feeds, batchable=False, methods=("minmax",))


def volume() -> ir.Model:
    """3-D convolutions, a transposed one, and a 1x1 head."""
    return parse(
        f"""{HEAD_19} g (float[1,1,8,8,8] x, float[16,1,3,3,3] w, float[16,16,2,2,2] u, float[16,16,3,3,3] v) => (float[1,16,14,14,14] y) {{
            a = Conv <pads=[1,1,1,1,1,1]> (x, w)
            r = Relu(a)
            t = ConvTranspose <strides=[2,2,2]> (r, u)
            y = Conv(t, v)
        }}""",
        {"w": normal(16, 1, 3, 3, 3), "u": normal(16, 16, 2, 2, 2), "v": normal(16, 16, 3, 3, 3)},
    )


def audio() -> ir.Model:
    return parse(
        f"""{HEAD_19} g (float[1,1,640] x, float[64,1,256] w, float[32,64,3] v) => (float[1,32,2] y) {{
            a = Conv <strides=[128]> (x, w)
            p = Abs(a)
            y = Conv(p, v)
        }}""",
        {"w": normal(64, 1, 256), "v": normal(32, 64, 3)},
    )


def recommender() -> ir.Model:
    return parse(
        f"""{HEAD_19} g (int64[4,8] x, float[100,32] table, float[32,32] w, float[32] b) => (float[4,8,32] y) {{
            e = Gather(table, x)
            h = MatMul(e, w)
            y = Add(h, b)
        }}""",
        {"table": normal(100, 32, scale=1.0), "w": normal(32, 32), "b": normal(32)},
    )


@pytest.mark.parametrize("scheme", (TENSORRT, for_this_cpu()), ids=lambda scheme: scheme.name)
@pytest.mark.parametrize(
    ("model", "shape"), [(volume, (1, 1, 8, 8, 8)), (audio, (1, 1, 640)), (normed, (1, 64, 32)), (recommender, None)]
)
def test_every_family_survives_in_both_forms(model, shape, scheme: Scheme) -> None:
    def sample(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return rng.standard_normal(shape).astype(np.float32) if shape else rng.integers(0, 100, (4, 8))

    feeds = [{"x": sample(seed)} for seed in range(8)]
    result = quantize(model(), calibrator(feeds), QuantizeSettings(scheme=scheme))
    assert result.placement.quantizes
    unseen = {"x": sample(99)}
    assert sqnr(run(model(), unseen), run(result.model, unseen)) > 25
    assert all(point.range_name in result.table.tensors for point in result.placement.activations)


def test_the_given_model_is_not_changed() -> None:
    model = normed()
    before = ir.to_proto(model).SerializeToString()
    feeds = [{"x": normal(1, 64, 32, seed=i, scale=2.0)} for i in range(8)]
    quantize(model, calibrator(feeds))
    assert ir.to_proto(model).SerializeToString() == before


def test_the_same_inputs_give_the_same_graph() -> None:
    feeds = [{"x": normal(1, 64, 32, seed=i, scale=2.0)} for i in range(8)]
    one, two = (ir.to_proto(quantize(normed(), calibrator(feeds)).model).SerializeToString() for _ in range(2))
    assert one == two


def test_a_model_with_nothing_to_quantize_says_so() -> None:
    model = parse(f"{HEAD_19} g (float[4,4] x) => (float[4,4] y) {{ y = Relu(x) }}")
    result = quantize(model, calibrator([{"x": normal(4, 4)}]))
    assert not result.placement.quantizes
    assert "no node can be quantized" in result.notes[0]
    assert [node.op_type for node in result.model.graph] == ["Relu"]


def test_the_float_budget_takes_out_the_op_that_hurts() -> None:
    """A conv fed by a heavy-tailed tensor, cheap beside its neighbour."""
    model = parse(
        f"""{HEAD_19} g (float[1,16,16,16] x, float[16,16,1,1] w, float[64,16,3,3] v) => (float[1,64,14,14] y) {{
            c = Mul(x, x)
            d = Mul(c, c)
            a = Conv(d, w)
            n = Tanh(a)
            y = Conv(n, v)
        }}""",
        {"w": conv_weight(16, 16, 1), "v": conv_weight(64, 16)},
    )
    feeds = [{"x": normal(1, 16, 16, 16, seed=i, scale=1.0)} for i in range(4)]
    costs = {"a": 16 * 16 * 256, "y": 64 * 16 * 9 * 196}
    kept = quantize(model, calibrator(feeds), QuantizeSettings(costs=costs, corrections=ALL - {Correction.FALLBACK}))
    fallen_back = quantize(model, calibrator(feeds), QuantizeSettings(costs=costs, allowance=Allowance(0.1)))
    assert kept.plan.nodes["a"].dtype is Dtype.INT8
    assert fallen_back.plan.nodes["a"].dtype is Dtype.FP16
    assert "measured" in fallen_back.plan.nodes["a"].reason
    reference = run(model, feeds[0])
    assert sqnr(reference, run(fallen_back.model, feeds[0])) > sqnr(reference, run(kept.model, feeds[0])) + 3


@pytest.mark.parametrize("methods", [("minmax",), ("minmax", "percentile")])
def test_macs_are_not_spent_where_the_outputs_do_not_gain(methods: tuple[str, ...]) -> None:
    """Noises measured op by op do not add up in a model that amplifies them: here they are said to."""
    model = parse(
        f"""{HEAD_19} g (float[1,16,16,16] x, float[16,16,1,1] w, float[64,16,3,3] v) => (float[1,64,14,14] y) {{
            a = Conv(x, w)
            n = Relu(a)
            y = Conv(n, v)
        }}""",
        {"w": conv_weight(16, 16, 1), "v": conv_weight(64, 16)},
    )
    feeds = [{"x": normal(1, 16, 16, 16, seed=i)} for i in range(4)]
    costs = {"a": 16 * 16 * 256, "y": 64 * 16 * 9 * 196}
    calibrated = Calibrator(lambda: feeds, batchable=False, methods=methods)
    prepared = prepare(model, calibrated, QuantizeSettings(costs=costs), lambda _: None)
    noise = {item.node: item.noise for item in prepared.found}
    assert set(noise) == set(costs)
    misled = replace(prepared, found=(Sensitivity("a", 0.5), Sensitivity("y", noise["y"])))
    silenced = replace(misled, judged=[{"x": np.zeros_like(feeds[0]["x"])}], chosen=replace(misled.chosen, noise=None))
    assert misled.quantized(Allowance(0.1)).fallen_back == {"a"}
    vain = silenced.quantized(Allowance(0.1))
    assert not vain.fallen_back
    assert vain.plan.nodes["a"].dtype is Dtype.INT8
    assert any("no op left out for its error" in note for note in vain.notes)


@pytest.mark.parametrize("left", sorted(ALL))
def test_each_correction_can_be_left_out_and_is_said_to_be(left: Correction) -> None:
    feeds = [{"x": normal(1, 64, 32, seed=i)} for i in range(6)]
    every = quantize(normed(), calibrator(feeds))
    without = quantize(normed(), calibrator(feeds), QuantizeSettings(corrections=ALL - {left}))
    assert not any("left out" in note for note in every.notes)
    assert left.value in without.notes[0]


def test_the_cpu_form_computes_what_it_was_simulated_to() -> None:
    """Large activations times large weights of one sign: the products that saturate on a CPU without VNNI."""
    rng = np.random.default_rng(0)
    model = parse(
        f"""{HEAD_19} g (float[4,64] x, float[64,32] w) => (float[4,32] y) {{ y = MatMul(x, w) }}""",
        {"w": rng.uniform(0.8, 1.0, (64, 32)).astype(np.float32)},
    )
    feeds = [{"x": np.random.default_rng(i).uniform(0.8, 1.0, (4, 64)).astype(np.float32)} for i in range(6)]
    found = quantize(model, calibrator(feeds), QuantizeSettings(scheme=for_this_cpu()))
    assert found.placement.quantizes
    fused = ort.InferenceSession(ir.to_proto(found.model).SerializeToString(), providers=["CPUExecutionProvider"])
    assert sqnr(run(found.model, feeds[0]), fused.run(None, feeds[0])[0]) > 35
    assert found.placement.scheme.weights.highest in (63, 127)


def test_what_is_exactly_zero_stays_so_where_a_norm_reads_it() -> None:
    """A corrected bias turns the zeros of padding into small numbers, and an L2 norm those into large ones."""
    model = parse(
        f"""{HEAD_19} g (float[N,8,64] x, float[64,64] w, float[64,32] v) => (float[N,8,32] y) <float eps = {{1e-12}}, int64[1] last = {{-1}}> {{
            a = MatMul(x, w) s = ReduceL2(a, last) n = Max(s, eps) b = Div(a, n) y = MatMul(b, v) }}""",
        {"w": normal(64, 64), "v": normal(64, 32)},
    )
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((1, 8, 64)).astype(np.float32)} for _ in range(16)]
    for feed in feeds:
        feed["x"][:, 5:] = 0
    wanted = run(model, feeds[0])
    found = quantize(model, Calibrator(lambda: feeds, batchable=False, methods=("mse", "minmax")))
    assert sqnr(wanted, run(found.model, feeds[0])) > 30
    assert any("biases left as they are" in note for note in found.notes)


@pytest.mark.parametrize(("count", "solves"), [(31, False), (32, True)])
def test_weights_are_rounded_by_least_squares_where_samples_can_tell(count: int, solves: bool) -> None:
    feeds = [{"x": normal(1, 64, 32, seed=i, scale=2.0)} for i in range(count)]
    several = replace(calibrator(feeds), methods=("mse", "minmax"))
    notes = prepare(normed(), several, QuantizeSettings(), lambda _: None).notes
    assert any(note.startswith("and after rounding by least squares") for note in notes) is solves
    why = f"weights rounded plainly: least squares takes 32 samples to be told from chance, there are {count}"
    assert (why in notes) is not solves


def test_captured_rows_are_let_go_of_once_nobody_asks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judging takes memory of its own, and two forms are made side by side."""
    held: list[int] = []
    judged = Judge.noise

    def noise(*given: object, **named: object) -> object:
        gc.collect()
        held.append(sum(isinstance(item, Rows) for item in gc.get_objects()))
        return judged(*given, **named)

    monkeypatch.setattr(Judge, "noise", noise)
    for count in (31, 32):  # least squares, of the latter, asks once more
        feeds = [{"x": normal(1, 64, 32, seed=i, scale=2.0)} for i in range(count)]
        prepare(normed(), replace(calibrator(feeds), methods=("mse", "minmax")), QuantizeSettings(), lambda _: None)
    assert held[0] == 0 and held[1] > 0
