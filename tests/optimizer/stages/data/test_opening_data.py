"""From a model and its data to samples: what axis 0 counts decides how files are cut."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from engines.profile import infer_profile, parse_shape_profiles
from graphs.errors import BadInput
from optimizer.importing import import_model
from optimizer.main_job import apply_options
from optimizer.settings.job import Settings
from optimizer.stages.data.inputs import open_inputs
from tests.drawing import seeded

rng = seeded(0)


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


W = normal(4, 3)
MLP = "(float[N,4] x) => (float[N,3] y) { z = MatMul(x, w) y = Relu(z) }"
CLOUD = "(float[P,4] x) => (float[1,3] y) { z = MatMul(x, w) y = ReduceMax<axes = [0]>(z) }"
FROZEN = "(float[N,2,2] x) => (float[N,3] y) <int64[2] s = {1, 4}> { f = Reshape(x, s) y = MatMul(f, w) }"
FIXED = "(float[4,4] x) => (float[4,3] y) { y = MatMul(x, w) }"
CACHE = "(float[B,P,4] past, float[B,1,4] x) => (float[B,Q,4] y) { y = Concat<axis = 1>(past, x) }"


@pytest.fixture
def opened(tmp_path):
    def open_(text, files, **options):
        proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {text}')
        if "w)" in text:
            proto.graph.initializer.append(onnx.numpy_helper.from_array(W, "w"))
        onnx.save(proto, tmp_path / "m.onnx")
        for number, file in enumerate(files):
            arrays = file if isinstance(file, dict) else {"x": file}
            np.savez(tmp_path / f"{number:02}.npz", **arrays)
        imported = import_model(tmp_path / "m.onnx")
        inputs = open_inputs(apply_options(Settings(), {"data": str(tmp_path), **options}), imported, {})
        return imported, inputs

    return open_


def samples(inputs):
    return [sample["x"].shape for part in (inputs.calibration, inputs.held_back) for sample in part.samples()]


def test_rows_are_samples(opened):
    _, inputs = opened(MLP, [normal(5, 4), normal(3, 4)])
    assert samples(inputs) == [(1, 4)] * 8 and inputs.specs[0].batch


def test_clouds_are_samples_stacked_or_not(opened):
    _, inputs = opened(CLOUD, [normal(20, 4), normal(30, 4), normal(2, 9, 4)])
    assert sorted(samples(inputs)) == [(9, 4), (9, 4), (20, 4), (30, 4)]
    assert str(infer_profile(inputs.specs, {"x": [(9, 4), (30, 4)]}, {}).inputs["x"]) == "9x4:30x4:30x4"


@pytest.mark.parametrize("rows", [1, 6])
def test_a_frozen_graph_takes_row_by_row_and_says_so_in_its_inputs(opened, rows):
    imported, inputs = opened(FROZEN, [normal(rows, 2, 2), normal(rows, 2, 2)])
    assert samples(inputs) == [(1, 2, 2)] * 2 * rows
    assert imported.model.graph.inputs[0].shape[0] == imported.model.graph.outputs[0].shape[0] == 1


def test_a_fixed_batch_leaves_out_what_does_not_fill_it(opened):
    _, inputs = opened(FIXED, [normal(10, 4), normal(8, 4)])
    assert samples(inputs) == [(4, 4)] * 4
    assert any("2 rows at the end of" in note and "left out" in note for note in inputs.notes)


def test_a_fixed_batch_is_filled_where_files_hold_too_little(opened):
    _, inputs = opened(FIXED, [normal(1, 4), normal(3, 4)])
    assert samples(inputs) == [(4, 4)] * 2
    assert any("rows are repeated" in note for note in inputs.notes)


def test_samples_with_an_empty_axis_are_left_out_with_a_note(opened):
    files = [{"past": normal(1, length, 4), "x": normal(1, 1, 4)} for length in (0, 2, 3, 0, 1)]
    _, inputs = opened(CACHE, files)
    assert len(samples(inputs)) == 3
    assert any("2 files" in note and "axis 1 has length 0" in note for note in inputs.notes)


def test_the_switch_wins_over_the_probe(opened):
    files = [normal(5, 4), normal(3, 4)]
    assert sorted(samples(opened(MLP, files, batch_axis="none")[1])) == [(3, 4), (5, 4)]
    assert samples(opened(CLOUD, files, batch_axis=0)[1]) == [(1, 4)] * 8
    with pytest.raises(BadInput, match="one of auto, 0, none"):
        Settings(batch_axis="1")


def test_a_function_that_yields_odd_batches(opened, tmp_path):
    (tmp_path / "f.py").write_text("import numpy as np\ndef make():\n    yield {'x': np.ones((6, 4), np.float32)}\n")
    _, inputs = opened(FIXED, [], data=f"{tmp_path}/f.py:make")
    assert len(samples(inputs)) == 2 and any("2 rows at the end of" in note for note in inputs.notes)


def test_made_up_clouds_have_points(opened):
    _, inputs = opened(CLOUD, [], data="random", samples=4)
    assert set(samples(inputs)) == {(16, 4)} and not inputs.calibrated


def test_a_stack_of_batches_is_taken_apart(opened):
    stack = normal(3, 2, 4)
    _, inputs = opened(MLP, [stack])
    assert samples(inputs) == [(1, 4)] * 6
    rows = np.concatenate([s["x"] for part in (inputs.calibration, inputs.held_back) for s in part.samples()])
    assert {row.tobytes() for row in rows} == {row.tobytes() for row in stack.reshape(6, 4)}


def test_data_of_nothing_but_empty_samples_is_refused(opened):
    with pytest.raises(BadInput, match=r"holds no samples; left out.*'past' is empty"):
        opened(CACHE, [{"past": normal(1, 0, 4), "x": normal(1, 1, 4)}])


SOUND = """(float[B,N] x) => (float[B,1,K] y) <int64[1] a = {1}, int64[3] s = {1, 1, 100}> {
    wide = Unsqueeze(x, a)
    window = ConstantOfShape<value = float[1] {1.0}>(s)
    y = Conv(wide, window)
}"""
TWO_NAMES = "(float[B,S,4] x, float[B,T,4] other) => (float[B,S,4] y) { y = Add(x, other) }"
DECODER = """(float[B,S,4] x, float[B,P,4] past, float[B,{total}] mask) => (float[B,R,4] y) <int64[1] a = {{-1}}> {{
    all = Concat<axis = 1>(past, x)
    row = Unsqueeze(mask, a)
    y = Mul(all, row)
}}"""


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        (SOUND, {"x": (1, 128)}),  # 16, the usual length, is shorter than the window
        (TWO_NAMES.replace("S", "seq"), {"x": (1, 64, 4), "other": (1, 64, 4)}),  # two names of one length
        (MLP, {"x": (1, 4)}),
    ],
)
def test_made_up_lengths_are_those_the_model_runs_on(opened, text, runs):
    _, inputs = opened(text, [], data="random")
    assert {name: array.shape for name, array in next(inputs.calibration.samples()).items()} == runs


@pytest.mark.parametrize("total", ["past_length + seq", "past_length + 64", "total_seq"])
def test_a_mask_over_what_is_kept_and_what_is_new_is_as_long_as_both(opened, tmp_path, total):
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {DECODER.format(total="M")}')
    symbols = {"M": total, "S": "seq", "P": "past_length"}
    for value in proto.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in symbols:
                dim.dim_param = symbols[dim.dim_param]
    onnx.save(proto, tmp_path / "decoder.onnx")
    imported = import_model(tmp_path / "decoder.onnx")
    inputs = open_inputs(apply_options(Settings(), {"data": "random"}), imported, {})
    assert {n: a.shape for n, a in next(inputs.calibration.samples()).items()} == {
        "x": (1, 64, 4),
        "past": (1, 1, 4),
        "mask": (1, 65),
    }


def test_a_model_that_runs_on_no_made_up_length_is_refused_with_what_it_says(opened):
    with pytest.raises(BadInput, match="--shape"):
        opened("(float[B,S,4] x) => (float[7] y) <int64[1] s = {7}> { y = Reshape(x, s) }", [], data="random")


def test_lengths_that_are_given_are_not_tried_again(opened, tmp_path):
    opened(SOUND, [], data="random")
    imported = import_model(tmp_path / "m.onnx")
    shapes = parse_shape_profiles(["x=1x300"])[0]
    inputs = open_inputs(apply_options(Settings(), {"data": "random"}), imported, shapes)
    assert next(inputs.calibration.samples())["x"].shape == (1, 300)
