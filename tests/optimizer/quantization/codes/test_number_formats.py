"""Which node takes which format where, and graphs of several formats at once."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from calibration.table import CalibrationTable, TensorRange
from engines.onnxruntime.graph import simulated_outputs
from engines.targets.formats import check_precision, refusal
from engines.targets.target import TARGETS
from graphs.errors import BadInput
from graphs.reading.number_types import E4M3, SIGNED, NumberType
from graphs.tensorrt.lint import lint
from optimizer.precision import Dtype
from optimizer.quantization.codes.scheme import FP8, INT8_WEIGHTS, ONNXRUNTIME, SCHEMES, TENSORRT
from optimizer.quantization.insertion.qdq import insert
from optimizer.quantization.observing.calibrating import Calibrator
from optimizer.quantization.placement.formats import formats_of
from optimizer.quantization.placement.place import place
from optimizer.quantization.quantize import quantize
from optimizer.quantization.settings import QuantizeSettings
from optimizer.settings.asked_plan import AskedPlan
from optimizer.typed.schemes import planned_formats
from tests.optimizer.quantization.models import parse

WIDE = 256


def two_products() -> ir.Model:
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0, 0.05, (WIDE, WIDE)).astype(np.float32) for name in ("w1", "w2", "w3")}
    weights["small"] = rng.normal(0, 0.05, (8, WIDE)).astype(np.float32)
    return parse(
        f"""<ir_version: 10, opset_import: ["" : 21]> g (float[N, {WIDE}] x,
        float[{WIDE}, {WIDE}] w1, float[{WIDE}, {WIDE}] w2, float[{WIDE}, {WIDE}] w3, float[8, {WIDE}] small)
        => (float[N, {WIDE}] y, float[N, 8] z) {{
            first = MatMul (x, w1)
            second = MatMul (x, w2)
            act = Relu (first)
            sum = Add (act, second)
            y = Gemm <transB = 1> (sum, w3)
            z = Gemm <transB = 1> (y, small)
        }}""",
        weights,
    )


def targets(*names: str) -> list:
    return [TARGETS[name] for name in names]


@pytest.mark.parametrize(
    ("dtype", "taken", "not_taken"),
    [
        ("bf16", ("a100", "orin", "h100"), ("t4", "v100")),
        ("fp8", ("l4", "h100", "b200", "blackwell"), ("t4", "a100", "a10", "orin")),
        ("int4", ("a100", "l4", "blackwell"), ("t4", "xavier")),
        ("int8wo", ("t4", "a100", "l4"), ()),
        ("nvfp4", ("b200", "blackwell"), ("l4", "h100", "t4")),
        ("mxfp8", ("b200", "blackwell"), ("l4", "h100", "t4")),
    ],
)
def test_each_target_takes_what_its_tensor_cores_have(dtype: str, taken: tuple, not_taken: tuple) -> None:
    assert not any(refusal(dtype, target) for target in targets(*taken, "cpu"))
    assert all(refusal(dtype, target) for target in targets(*not_taken))


def test_a_wrong_target_is_refused_in_one_line_that_says_what_to_do() -> None:
    with pytest.raises(BadInput) as error:
        check_precision("int4", targets("t4", "l4"))
    assert "INT4 tensor cores of Turing" in error.value.what and "\n" not in error.value.what
    assert error.value.fix == "--precision int8wo, or --target l4"


def test_what_a_node_can_take_comes_with_the_reason_of_what_it_cannot() -> None:
    nodes = {node.name: node for node in two_products().graph}
    found = formats_of(nodes["first"], targets("l4"))
    assert {dtype for dtype, why in found.items() if why} == {Dtype.NVFP4, Dtype.MXFP8}
    assert "Blackwell" in found[Dtype.NVFP4]
    assert not any(formats_of(nodes["first"], targets("blackwell")).values())
    small = formats_of(nodes["z"], targets("blackwell"))
    assert "K=256, N=8" in small[Dtype.INT8] and not small[Dtype.FP16]
    assert "has no weight" in formats_of(nodes["act"], targets("l4"))[Dtype.INT8]


def test_some_nodes_in_one_format_some_in_another() -> None:
    model = two_products()
    ranges = {name: TensorRange(-4, 4, -4, 4, 4, "minmax") for name in ("x", "sum", "y")}
    table = CalibrationTable(ranges, "minmax", 1, True, "", "")
    formats = {"second": FP8, "y": INT8_WEIGHTS}
    placement = place(model, scheme=TENSORRT, keep_float={}, table=table, formats=formats)
    dtypes = {name: node.dtype for name, node in placement.plan.nodes.items()}
    assert (dtypes["first"], dtypes["second"], dtypes["y"]) == (Dtype.INT8, Dtype.FP8, Dtype.INT8WO)
    assert dtypes["z"] is Dtype.FP16 and placement.plan.counts()["int8"] == 1
    assert [(point.tensor, point.codes) for point in placement.activations] == [
        ("x", TENSORRT.static),
        ("x", FP8.static),
    ]
    insert(model, placement, table)
    kinds = [node.inputs[0].dtype for node in model.graph if node.op_type == "DequantizeLinear"]
    assert sorted(kind.name for kind in kinds if kind) == ["FLOAT8E4M3FN", "FLOAT8E4M3FN", "INT8", "INT8", "INT8"]
    assert not lint(model)
    x = np.random.default_rng(1).normal(0, 1, (16, WIDE)).astype(np.float32)
    (plain,), (rounded,) = simulated_outputs(two_products(), [{"x": x}]), simulated_outputs(model, [{"x": x}])
    noise = np.square(plain["y"] - rounded["y"]).sum() / np.square(plain["y"]).sum()
    assert 1e-6 < noise < 3e-3


@pytest.mark.parametrize(("formats", "of_x"), [(("second",), SIGNED), (("first", "second"), E4M3)])
def test_a_range_is_for_the_codes_of_those_that_read_it(formats: tuple[str, ...], of_x: NumberType) -> None:
    placement = place(two_products(), scheme=TENSORRT, keep_float={}, formats=dict.fromkeys(formats, FP8))
    assert placement.numbers["x"] is of_x
    assert placement.numbers["sum"] is SIGNED


def test_every_scheme_has_its_own_name() -> None:
    assert {dtype.value: scheme.dtype for dtype, scheme in SCHEMES.items()} == {
        scheme.dtype.value: scheme.dtype for scheme in SCHEMES.values()
    }
    assert len({scheme.name for scheme in SCHEMES.values()}) == len(SCHEMES)


def test_a_plan_of_several_formats_goes_through_the_corrections() -> None:
    rng = np.random.default_rng(3)
    feeds = [{"x": rng.normal(0, 1, (32, WIDE)).astype(np.float32)} for _ in range(12)]
    plan = AskedPlan.of({"second": "fp8", "y": "int4"})
    settings = QuantizeSettings(formats=planned_formats(plan, TENSORRT), costs={"first": 9, "second": 9, "y": 9})
    calibrator = Calibrator(lambda: feeds, batchable=False, methods=("mse", "minmax"))
    found = quantize(two_products(), calibrator, settings)
    dtypes = {name: node.dtype for name, node in found.plan.nodes.items() if node.op_type in ("MatMul", "Gemm")}
    assert dtypes == {"first": Dtype.INT8, "second": Dtype.FP8, "y": Dtype.INT4, "z": Dtype.FP16}
    assert not lint(found.model)
    (plain,), (rounded,) = simulated_outputs(two_products(), feeds[:1]), simulated_outputs(found.model, feeds[:1])
    noise = np.square(plain["y"] - rounded["y"]).sum() / np.square(plain["y"]).sum()
    assert noise < 2e-2


def test_no_other_format_is_planned_for_a_cpu() -> None:
    assert not planned_formats(AskedPlan.of({"second": "fp8"}), ONNXRUNTIME)


def test_a_format_that_a_plan_asks_for_is_refused_by_the_plans_name() -> None:
    with pytest.raises(BadInput) as error:
        check_precision("int4", targets("t4", "l4"), "mine.json")
    assert error.value.where == "int4 in mine.json, --target t4" and "in the plan, or --target l4" in error.value.fix
