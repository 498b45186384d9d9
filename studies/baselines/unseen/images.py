"""Photographs, faces, captchas and drawn lines of text; alternate photographs are held back."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from engines.engine import Array, Feed
from studies.baselines.packages import Packages, one

LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SKIMAGE = "scikit-image==0.26.0"
FOREGROUND = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "rocket.jpg",
    "motorcycle_left.png",
)


def photographs_bgr(packages: Packages, count: int, calibration: bool) -> Iterator[Feed]:
    """[1, 3, 256, 256], blue first, 0..255."""
    for image in _crops(packages, count, calibration, 256):
        yield {"input.1": np.ascontiguousarray(image[None, :, :, ::-1].transpose(0, 3, 1, 2))}


def photographs_nhwc(packages: Packages, count: int, calibration: bool) -> Iterator[Feed]:
    """[1, 224, 224, 3], blue first, less the mean of VGG."""
    for image in _crops(packages, count, calibration, 224):
        yield {"input_0": image[None, :, :, ::-1] - np.array([104.0, 117.0, 123.0], np.float32)}


def face_crops(packages: Packages, count: int, calibration: bool) -> Iterator[Feed]:
    """[1, 48, 48, 3] in -1..1: three faces of scikit-image's subset of Labelled Faces, then a crop of a photograph."""
    faces = np.load(one(packages.pypi(SKIMAGE), "lfw_subset.npy"))[0 if calibration else 1 : 100 : 2]
    others = _crops(packages, count, calibration, 48)
    for k in range(count):
        if k % 4 == 3:
            image = next(others)
        else:
            gray = Image.fromarray((faces[k % len(faces)] * 255).astype(np.uint8)).resize(
                (48, 48), Image.Resampling.BILINEAR
            )
            image = np.asarray(gray.convert("RGB"), np.float32)
        yield {"input_3": ((image[None] - 127.5) / 128).astype(np.float32)}


def captchas_bgr(packages: Packages, count: int, calibration: bool) -> Iterator[Feed]:
    """[1, 3, 60, 160], blue first, 0..255."""
    for image in _captchas(packages, count, 10 if calibration else 11):
        yield {"image": np.ascontiguousarray(np.asarray(image, np.float32)[None, :, :, ::-1].transpose(0, 3, 1, 2))}


def captchas_gray(packages: Packages, count: int, calibration: bool) -> Iterator[Feed]:
    """[1, 1, 64, 170] in -1..1."""
    for image in _captchas(packages, count, 12 if calibration else 13):
        gray = image.convert("L").resize((170, 64), Image.Resampling.LANCZOS)
        yield {"input1": ((np.asarray(gray, np.float32) / 255 - 0.5) / 0.5)[None, None]}


def lines(packages: Packages, count: int, calibration: bool) -> Iterator[Feed]:
    """[1, 3, 48, 320] in -1..1, zeros behind a short line."""
    for image in _lines(packages, count, 14 if calibration else 15):
        yield {"x": _padded(image, 48, 320)}


def lines_either_way(packages: Packages, count: int, calibration: bool) -> Iterator[Feed]:
    """[1, 3, 48, 192] in -1..1, every other line upside down."""
    for k, image in enumerate(_lines(packages, count, 16 if calibration else 17)):
        yield {"x": _padded(image.rotate(180) if k % 2 else image, 48, 192)}


def _padded(image: Image.Image, height: int, width: int) -> Array:
    resized = image.resize((min(width, round(image.width * height / image.height)), height), Image.Resampling.BILINEAR)
    values = (np.asarray(resized, np.float32)[:, :, ::-1].transpose(2, 0, 1) / 255 - 0.5) / 0.5
    return np.pad(values, ((0, 0), (0, 0), (0, width - values.shape[2])))[None].astype(np.float32)


def _crops(packages: Packages, count: int, calibration: bool, size: int) -> Iterator[Array]:
    """[size, size, 3], 0..255: random squares of the photographs, mirrored half of the time."""
    rng = np.random.default_rng(18 if calibration else 19)
    files = _photographs(packages)[0 if calibration else 1 :: 2]
    for k in range(count):
        image = Image.open(files[k % len(files)]).convert("RGB")
        side = int(min(image.size) * rng.uniform(0.5, 1))
        left, top = (int(rng.integers(0, length - side + 1)) for length in image.size)
        found = np.asarray(image.crop((left, top, left + side, top + side)).resize((size, size)), np.float32)
        yield found[:, ::-1] if rng.random() < 0.5 else found


def _photographs(packages: Packages) -> list[Path]:
    folder = packages.pypi(SKIMAGE)
    own = [one(folder, name) for name in FOREGROUND]
    faces = [one(packages.pypi("ultralytics==8.4.190"), name) for name in ("bus.jpg", "zidane.jpg")]
    return [*own, *sorted(packages.pypi("foolbox==3.3.4").rglob("imagenet_*.jpg")), *faces]


def _captchas(packages: Packages, count: int, seed: int) -> Iterator[Image.Image]:
    """[60, 160] with four to six letters or digits, as the package draws them."""
    import random

    folder = str(packages.pypi("captcha==0.7.1"))
    sys.path.insert(0, folder)
    drawer = importlib.import_module("captcha.image").ImageCaptcha(width=160, height=60)
    sys.path.remove(folder)
    random.seed(seed)  # the package draws with these
    for _ in range(count):
        yield drawer.generate_image("".join(random.choices(LETTERS, k=random.randint(4, 6)))).convert("RGB")


def _lines(packages: Packages, count: int, seed: int) -> Iterator[Image.Image]:
    """A line of news in a font of matplotlib, dark on light or light on dark, a little noise."""
    rng = np.random.default_rng(seed)
    fonts = sorted(packages.pypi("matplotlib==3.10.7").rglob("DejaVu*.ttf"))
    words = one(packages.pypi("gensim==4.4.0"), "lee.cor").read_text("latin-1").split()
    for _ in range(count):
        start = int(rng.integers(0, len(words) - 6))
        text = " ".join(words[start : start + int(rng.integers(1, 5))])
        font = ImageFont.truetype(str(fonts[rng.integers(len(fonts))]), int(rng.integers(24, 40)))
        left, top, right, bottom = font.getbbox(text)
        paper, ink = rng.integers(180, 256, 3), rng.integers(0, 90, 3)
        if rng.random() < 0.3:
            paper, ink = ink, paper
        image = Image.new("RGB", (int(right - left) + 16, int(bottom - top) + 12), tuple(int(v) for v in paper))
        ImageDraw.Draw(image).text((8 - left, 6 - top), text, font=font, fill=tuple(int(v) for v in ink))
        noisy = np.asarray(image, np.float32) + rng.standard_normal((image.height, image.width, 3)) * rng.uniform(0, 12)
        yield Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
