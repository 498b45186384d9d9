"""Results of the CPU form's convolutions that float ops read: written in float where rounding them costs much."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from calibration.table import CalibrationTable, TensorRange
from graphs.reading.macs import int8_mac_share
from optimizer.corrections import ALL, Correction
from optimizer.precision import Dtype
from optimizer.quantization.choosing.float_results import chosen_results
from optimizer.quantization.codes.scheme import ONNXRUNTIME
from optimizer.quantization.corrections.sensitivity import Sensitivity
from optimizer.quantization.insertion.qdq import insert
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.placement.place_for_cpu import place_for_cpu
from optimizer.quantization.prepared import QuantizedModel
from optimizer.quantization.quantize import quantize
from optimizer.quantization.settings import QuantizeSettings
from tests.optimizer.quantization.models import HEAD, normal, parse


def answer(model: ir.Model, feed: dict[str, np.ndarray]) -> np.ndarray:
    """In ONNX Runtime's default session."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feed)[0])


def sqnr(reference: np.ndarray, value: np.ndarray) -> float:
    return float(10 * np.log10(np.square(reference).sum() / max(np.square(reference - value).sum(), 1e-30)))


def headed() -> ir.Model:
    """A bias much larger than the product, taken away again by a float op: rounding sees the sum of both."""
    return parse(
        f"""{HEAD} g (float[1,16,8,8] x, float[24,16,3,3] w, float[24] b, float[24,1,1] away) => (float[1,24,6,6] y) {{
            a = Conv(x, w, b) y = Sub(a, away) }}""",
        {"w": normal(24, 16, 3, 3), "b": normal(24, scale=30.0), "away": normal(24, scale=30.0).reshape(24, 1, 1)},
    )


def feeds(count: int = 8) -> list[dict[str, np.ndarray]]:
    return [{"x": normal(1, 16, 8, 8, seed=seed, scale=1.0)} for seed in range(count)]


def for_cpu(model: ir.Model, left: frozenset[Correction] = frozenset()) -> QuantizedModel:
    calibrated = Calibrator(feeds, batchable=False, methods=("mse", "minmax"))
    settings = QuantizeSettings(scheme=ONNXRUNTIME, costs={"a": 24 * 16 * 9 * 36}, corrections=ALL - left)
    return quantize(model, calibrated, settings)


def test_a_result_whose_rounding_ruins_the_output_is_float_and_its_product_stays_int8() -> None:
    model = headed()
    feed = feeds(9)[-1]
    wanted = answer(model, feed)
    rounded = for_cpu(model, frozenset({Correction.FALLBACK}))
    found = for_cpu(model)
    assert sqnr(wanted, answer(found.model, feed)) > 10 + sqnr(wanted, answer(rounded.model, feed))
    assert int8_mac_share(found.model, {"x": (1, 16, 8, 8)}) == 1.0
    assert any("in float" in note and "a" in note for note in found.notes)


def test_most_noise_for_least_work_goes_first_and_no_more_than_is_near() -> None:
    found = [Sensitivity("dear", 4e-3), Sensitivity("cheap", 5e-3), Sensitivity("silent", 1e-6)]
    costs = {"dear": 1000, "cheap": 10, "silent": 1}
    assert chosen_results(found, costs, 1e-2, 1e-5) == ["cheap", "dear"]
    assert chosen_results(found, costs, 1e-2, 6e-3) == ["cheap"]
    assert chosen_results(found, costs, 1e-2, 2e-2) == []


def test_less_than_a_bit_is_bought_only_where_it_costs_next_to_nothing() -> None:
    found = [Sensitivity("dear", 3e-3), Sensitivity("cheap", 3e-3)]
    costs = {"dear": 300, "cheap": 10, "other": 700}
    assert chosen_results(found, costs, 1e-2, 1e-5) == ["cheap"]
    assert chosen_results(found, costs, 1e-2, 1e-5, least=1.0) == ["cheap", "dear"]
    assert chosen_results([Sensitivity("dear", 9e-3)], costs, 1e-2, 1e-5) == ["dear"]


@pytest.mark.parametrize("spatial", [(12,), (7, 8), (4, 5, 6)], ids=["1-D", "2-D", "3-D"])
@pytest.mark.parametrize("group", [1, 2], ids=["dense", "grouped"])
def test_an_integer_convolution_is_the_one_that_is_dequantized(spatial: tuple[int, ...], group: int) -> None:
    """Zero padding included: the data's zero point is not zero, and the pads must be."""
    rank, size = len(spatial), ",".join(map(str, spatial))
    kernel = ",".join("3" for _ in spatial)
    pads = ",".join("1" for _ in range(2 * rank))
    model = parse(
        f"""{HEAD} g (float[1,8,{size}] x, float[16,{8 // group},{kernel}] w, float[16] b) => (float[1,16,{size}] y) {{
            a = Conv<group={group}, pads=[{pads}]>(x, w, b) y = Tanh(a) }}""",
        {"w": normal(16, 8 // group, *[3] * rank), "b": normal(16)},
    )
    feed = {"x": normal(1, 8, *spatial, seed=3, scale=1.0)}
    ranges = {name: TensorRange(-2, 4, -2, 4, 4, "test") for name in ("x", "a")}
    table = CalibrationTable(ranges, "test", 1, True, "", "")
    placement = place_for_cpu(model, scheme=ONNXRUNTIME, keep_float={}, table=table, float_results=frozenset({"a"}))
    assert {point.tensor for point in placement.activations} == {"x"}
    insert(model, placement, table)
    assert "Conv" not in [node.op_type for node in model.graph] and model.graph.node("a").op_type == "ConvInteger"
    codes = np.clip(np.rint(feed["x"] / np.float32(6 / 255)) + 85, 0, 255) - 85
    weight = model.graph.initializers["a/uint8"].const_value.numpy().astype(np.float32) - 128
    factor = model.graph.initializers["a/factor"].const_value.numpy()
    rounded = parse(
        f"""{HEAD} g (float[1,8,{size}] x, float[16,{8 // group},{kernel}] w, float[16] b) => (float[1,16,{size}] y) {{
            a = Conv<group={group}, pads=[{pads}]>(x, w, b) y = Tanh(a) }}""",
        {
            "w": weight * factor.reshape(-1, *[1] * (rank + 1)) / np.float32(6 / 255),
            "b": normal(16),
        },
    )
    wanted = answer(rounded, {"x": (codes * np.float32(6 / 255)).astype(np.float32)})
    np.testing.assert_allclose(answer(model, feed), wanted, atol=1e-5)


def test_a_transposed_convolution_stays_float_where_no_integer_kernel_is() -> None:
    model = parse(
        f"""{HEAD} g (float[1,16,8,8] x, float[16,16,3,3] w) => (float[1,16,10,10] y) {{
            a = ConvTranspose(x, w) y = Relu(a) }}""",
        {"w": normal(16, 16, 3, 3)},
    )
    placement = place_for_cpu(model, scheme=ONNXRUNTIME, keep_float={})
    assert not placement.weights and placement.plan.nodes["a"].dtype is Dtype.FP32
    assert "no integer kernel" in placement.plan.nodes["a"].reason
