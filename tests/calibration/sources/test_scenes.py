"""Synthetic images: what natural ones have and noise has not, at the scale a model's batch norms tell."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from calibration.sources.batch_norms import match_batch_norms
from calibration.sources.open import open_source
from calibration.sources.scenes import scene
from calibration.sources.synthetic import SyntheticSource
from engines.engine import TensorSpec


def images(count: int = 24, channels: int = 3, side: int = 48) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([scene(rng, channels, (side, side)) for _ in range(count)])


def test_scenes_are_normalized_and_bounded_as_photographs_are():
    found = images()
    assert abs(found.mean()) < 0.25
    assert 0.7 < found.std() < 1.2
    assert found.min() > -2 and found.max() < 2.5


def test_neighbouring_pixels_and_channels_agree_where_noise_does_not():
    found = images()

    def correlation(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])

    assert correlation(found[..., 1:], found[..., :-1]) > 0.8
    assert correlation(found[:, 0], found[:, 1]) > 0.5


@pytest.mark.parametrize("sizes", [(64,), (16, 24), (12, 8, 10)])
def test_any_number_of_spatial_axes(sizes):
    assert scene(np.random.default_rng(1), 2, sizes).shape == (2, *sizes)


@pytest.mark.parametrize(("shape", "axis"), [(("n", 3, 32, 32), 1), (("n", 16, 16, 16, 1), 4), (("n", 64, 7, 7), None)])
def test_which_inputs_are_images(shape, axis):
    source = SyntheticSource([TensorSpec("x", "float32", shape)], samples=2)
    assert source.scene_inputs == ({} if axis is None else {"x": axis})
    assert next(source.samples())["x"].shape == (1, *shape[1:])


def normalized_network(gain: float, offset: float) -> ir.Model:
    """Conv and BatchNormalization trained, so to speak, on scenes scaled by ``gain`` and moved by ``offset``."""
    rng = np.random.default_rng(3)
    weight = rng.normal(0, 0.3, (16, 3, 3, 3)).astype(np.float32)
    patches = np.lib.stride_tricks.sliding_window_view(images() * gain + offset, (3, 3), axis=(2, 3))
    values = np.einsum("nchwij,fcij->nfhw", patches, weight)
    arrays = {
        "w": weight,
        "g": np.ones(16, np.float32),
        "b": np.zeros(16, np.float32),
        "m": values.mean(axis=(0, 2, 3)).astype(np.float32),
        "v": values.var(axis=(0, 2, 3)).astype(np.float32),
    }
    model = ir.from_onnx_text(
        """<ir_version: 9, opset_import: ["" : 19]> g (float[n,3,48,48] x, float[16,3,3,3] w, float[16] g, float[16] b,
            float[16] m, float[16] v) => (float[n,16,46,46] y) {
            c = Conv(x, w)
            y = BatchNormalization(c, g, b, m, v)
        }"""
    )
    for name, array in arrays.items():
        value = next(value for value in model.graph.inputs if value.name == name)
        model.graph.inputs.remove(value)
        value.const_value = ir.tensor(array, name=name)
        model.graph.register_initializer(value)
    return model


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (64.0, 115.0), (0.27, 0.45)])
def test_batch_norms_tell_the_scale_of_inputs(gain, offset):
    source = open_source("random", [TensorSpec("x", "float32", ("n", 3, 48, 48))], samples=16, seed=5)
    assert isinstance(source, SyntheticSource)
    matched = match_batch_norms(normalized_network(gain, offset), source)
    values = np.concatenate([sample["x"] for sample in matched.samples()])
    assert values.std() == pytest.approx(gain, rel=0.35)
    assert values.mean() == pytest.approx(offset, abs=0.5 * gain)
    assert "batch norms" in matched.notes[-1]
    assert matched.digest != source.digest


def test_without_batch_norms_nothing_is_matched():
    source = open_source("random", [TensorSpec("x", "float32", ("n", 3, 48, 48))], samples=2)
    model = normalized_network(1.0, 0.0)
    model.graph[1].op_type = "Other"
    assert isinstance(source, SyntheticSource)
    assert match_batch_norms(model, source) is source
