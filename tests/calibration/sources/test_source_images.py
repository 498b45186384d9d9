"""Image folders: the preprocessing formula, what is assumed, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from calibration.sources.images import IMAGENET_MEAN, IMAGENET_STD, ImageSpec
from calibration.sources.open import open_source
from engines.engine import TensorSpec
from graphs.errors import BadInput

NCHW = (TensorSpec("image", "float32", ("batch", 3, 8, 8)),)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (("b.png", (12, 10)), ("a.bmp", (8, 8)), ("c.webp", (9, 20))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(tmp_path / name)
    return tmp_path


def first(source):
    return next(source.samples())["image"]


def test_defaults_come_from_the_input_and_are_said(folder):
    source = open_source(folder, NCHW)
    pixels = np.asarray(Image.open(folder / "a.bmp"), np.float32)
    assert len(source) == 3
    assert np.allclose(first(source)[0], pixels.transpose(2, 0, 1) / 255)
    assert all(s["image"].shape == (1, 3, 8, 8) for s in source.samples())
    assert "RGB, NCHW, pixel / 255, no mean or std (assumed" in source.notes[0]


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (TensorSpec("image", "float32", ("batch", 8, 8, 3)), (1, 8, 8, 3)),
        (TensorSpec("image", "float32", (1, 1, 8, 6)), (1, 1, 8, 6)),
        (TensorSpec("image", "float32", (3, 6, 8)), (3, 6, 8)),
        (TensorSpec("image", "uint8", ("batch", 8, 8, 3)), (1, 8, 8, 3)),
        (TensorSpec("image", "float32", ("batch", 3, "h", "w")), (1, 3, 8, 8)),
    ],
)
def test_layout_and_channels_follow_the_input(folder, spec, shape):
    sample = first(open_source(folder, [spec]))
    assert sample.shape == shape
    assert sample.dtype == spec.dtype
    assert sample.max() > (1 if spec.dtype == "uint8" else 0)


def test_toml_says_the_whole_formula(folder):
    (folder / "preprocess.toml").write_text('resize = [8, 8]\ncolor = "bgr"\nnormalize = "imagenet"\n')
    source = open_source(folder, NCHW)
    bgr = np.asarray(Image.open(folder / "a.bmp"), np.float32)[..., ::-1]
    expected = (bgr / 255 - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
    assert np.allclose(first(source)[0], expected.transpose(2, 0, 1), atol=1e-6)
    assert "from preprocess.toml" in source.notes[0]


def test_given_spec_wins_and_changes_the_digest(folder):
    plain = open_source(folder, NCHW)
    given = open_source(folder, NCHW, images=ImageSpec(resize=8, crop=8, scale=1.0))
    assert np.allclose(first(given), first(plain) * 255)
    assert given.digest != plain.digest


def test_letterbox_keeps_the_aspect_ratio(folder):
    Image.new("RGB", (16, 8), (255, 0, 0)).save(folder / "a.bmp")
    sample = first(open_source(folder, NCHW, images=ImageSpec(resize=(8, 8), letterbox=51)))[0]
    assert np.allclose(sample[:, :2], 0.2)
    assert np.allclose(sample[:, -2:], 0.2)
    assert np.allclose(sample[:, 2:6], np.array([1, 0, 0]).reshape(3, 1, 1))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resize = -1", "must be positive"),
        ("mean = [0.5, 0.5]", "mean has 2 values"),
        ("std = [1, 0, 1]", "std must not be zero"),
        ('color = "cmyk"', r"'cmyk' .*\n.*color \(rgb, bgr, grey\)"),
        ("sise = 3", "unknown setting 'sise'"),
        ("resize = ", "not a preprocessing spec"),
        ('normalize = "other"', "normalize"),
    ],
)
def test_bad_preprocess_toml(folder, text, words):
    (folder / "preprocess.toml").write_text(text)
    with pytest.raises(BadInput, match=words) as caught:
        open_source(folder, NCHW)
    assert "preprocess.toml" in caught.value.where


def test_wrong_size_after_preprocessing(folder):
    with pytest.raises(BadInput, match=r"a\.bmp: 'image': a sample has shape \[1, 3, 4, 4\]"):
        open_source(folder, NCHW, images=ImageSpec(resize=(4, 4)))


@pytest.mark.parametrize("content", [b"", b"not an image", "half"])
def test_damaged_image_is_named(folder, content):
    whole = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(BadInput, match=r"b\.png: not a readable image"):
        list(open_source(folder, NCHW).samples())


def test_models_that_cannot_take_images(folder):
    with pytest.raises(BadInput, match="without being told how"):
        open_source(folder, [TensorSpec("x", "float32", ("batch", 10))])
    with pytest.raises(BadInput, match="this one has 2"):
        open_source(folder, [*NCHW, TensorSpec("y", "float32", ("batch", 10))])
