"""Shape profiles: one range for one symbol, whichever input gives it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.engine import TensorSpec
from engines.profile import infer_profile, parse_shape_profiles
from graphs.errors import BadInput

IMAGE = TensorSpec("img", "float32", ("N", 3, "H", "W"), True)
TEXT = TensorSpec("txt", "float32", ("M", "S", 32), True)
CLOUD = TensorSpec("points", "float32", ("P", 3), False)
STATE = TensorSpec("h0", "float32", (1, "N", 8), False)
SEEN = {"img": [(1, 3, 16, 16), (1, 3, 24, 20)], "txt": [(1, 7, 32)], "points": [(200, 3), (292, 3)], "h0": [(1, 1, 8)]}


def profile(specs, *options, **more):
    found = infer_profile(specs, SEEN, parse_shape_profiles(options)[0], **more)
    return {name: str(shapes) for name, shapes in found.inputs.items()}


def test_a_range_given_for_one_input_holds_for_the_batch_of_the_other():
    found = profile([IMAGE, TEXT, STATE], "img=1x3x8x8:4x3x16x16:8x3x64x64")
    assert found["txt"] == "1x7x32:4x7x32:8x7x32"
    assert found["h0"] == "1x1x8:1x4x8:1x8x8"


def test_what_data_shows_is_the_range_of_lengths_and_the_batch_grows():
    found = profile([IMAGE, TEXT], max_batch=16)
    assert found == {"img": "1x3x16x16:8x3x24x20:16x3x24x20", "txt": "1x7x32:8x7x32:16x7x32"}


def test_points_are_no_batch():
    assert profile([CLOUD]) == {"points": "200x3:292x3:292x3"}


def test_ranges_that_contradict_each_other_are_named():
    with pytest.raises(BadInput, match=r"axis 0 of 'txt' is 2:2:2, but 'img' has 1:4:8"):
        profile([IMAGE, TEXT], "img=1x3x8x8:4x3x16x16:8x3x64x64", "txt=2x7x32")


def test_an_unseen_input_asks_for_its_shape():
    with pytest.raises(BadInput, match="add --shape other=MIN:OPT:MAX"):
        infer_profile([TensorSpec("other", "float32", ("N", "K"))], {}, {})


@given(
    st.lists(st.tuples(st.sampled_from("NSTHW?"), st.integers(1, 9)), min_size=1, max_size=4), st.booleans(), st.data()
)
def test_every_profile_is_ordered_and_agrees_with_itself(axes, batch, data):
    specs = [TensorSpec(f"x{i}", "float32", tuple(a for a, _ in axes[i:]), batch) for i in range(len(axes))]
    lengths = data.draw(
        st.lists(st.fixed_dictionaries({a: st.integers(1, 9) for a, _ in axes}), min_size=1, max_size=3)
    )
    seen = {s.name: [tuple(sizes[a] for a in s.shape) for sizes in lengths] for s in specs}
    found = infer_profile(specs, seen, {})
    ranges = {}
    for spec in specs:
        shapes = found.inputs[spec.name]
        for axis, symbol in enumerate(spec.shape):
            low, opt, high = shapes.min[axis], shapes.opt[axis], shapes.max[axis]
            assert 0 < low <= opt <= high
            if symbol != "?":
                assert ranges.setdefault(symbol, (low, opt, high)) == (low, opt, high)
        assert all(shapes.covers(shape) for shape in seen[spec.name])


def test_an_axis_may_be_empty():
    """A cache before the first token, an input that nothing was left of: TensorRT takes both."""
    cache = TensorSpec("past", "float32", ("N", 2, "P", 8), True)
    nothing = TensorSpec("extra", "float32", ("N", 0), True)
    options = parse_shape_profiles(["past=1x2x0x8:1x2x16x8:1x2x32x8"])[0]
    found = infer_profile([cache, nothing], {"extra": [(1, 0)]}, options)
    assert str(found.inputs["past"]) == "1x2x0x8:1x2x16x8:1x2x32x8"
    assert found.inputs["extra"].max == (1, 0)
