"""A server that takes image files: prepared by the preprocess.toml, and the code, that data was read by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from calibration.sources.open import open_source
from deployment.triton.repository.ensemble import Around
from deployment.triton.repository.options import PYTHON, TritonOptions
from engines.feeds.batching import Batching
from engines.open import open_engine
from graphs.errors import BadInput
from optimizer.verbs.deploy.triton.deploy import deploy_triton
from optimizer.verbs.deploy.triton.options import functions_around
from tests.deployment.serving.conftest import HEAD, write_bundle
from tests.deployment.triton.triton_proto import parse

GRAPH = HEAD + "g (float[n, 3, 8, 8] x) => (float[n, 3, 8, 8] y) <float f = {2}> { y = Mul(x, f) }"
PLAIN = HEAD + "g (float[3, 8, 8] x) => (float[3, 8, 8] y) <float f = {2}> { y = Mul(x, f) }"
SPEC = 'resize = [8, 8]\ncolor = "bgr"\nnormalize = "imagenet"\n'


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "calib"
    folder.mkdir()
    for number, size in enumerate(((20, 31), (12, 9))):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "preprocess.toml").write_text(SPEC)
    return folder


@pytest.mark.parametrize(("graph", "batching"), [(GRAPH, Batching(("x",), ("y",))), (PLAIN, None)])
def test_a_file_is_answered_as_its_sample(graph: str, batching: Batching | None, images: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "net", graph, batching)
    around = functions_around(str(images / "preprocess.toml"), "", [])
    options = TritonOptions(backend=PYTHON)
    found = deploy_triton(bundle, tmp_path / "out", name="net", options=options, around=around)
    config = parse(tmp_path / "out/net/config.pbtxt")
    assert [(tensor.name, list(tensor.dims), tensor.data_type) for tensor in config.input] == [("image", [-1], 2)]
    assert (tmp_path / "out/net_preprocess/1/user/image_file.py").is_file()
    (ensemble,) = (model for model in found.models if model.pipeline is not None)
    assert ensemble.pipeline is not None
    with ensemble.pipeline.around(open_engine(bundle / "engines/cpu")) as served:
        source = open_source(str(images), served._engine.inputs, samples=2, seed=0)  # type: ignore[attr-defined]
        for file, sample in zip(sorted(images.glob("*.png")), source.samples(), strict=True):
            content = np.frombuffer(file.read_bytes(), np.uint8)
            answer = served.infer({"image": content[None] if batching else content})
            assert np.array_equal(answer["y"], 2 * sample["x"])
        wrong = np.zeros((1, 9) if batching else 9, np.uint8)
        with pytest.raises(BadInput, match="not a readable image"):
            served.infer({"image": wrong})


def test_what_cannot_be_fed_from_images_is_told_before_anything_is_written(images: Path, tmp_path: Path) -> None:
    two = HEAD + "g (float[n, 3, 8, 8] a, float[n, 3, 8, 8] b) => (float[n, 3, 8, 8] y) { y = Add(a, b) }"
    bundle = write_bundle(tmp_path / "two", two, None)
    none = HEAD + "g () => (float[1] y) <float[1] f = {2}> { y = Identity(f) }"
    (tmp_path / "bad.toml").write_text("size = 3")
    for spec, told in (
        (images / "preprocess.toml", "this one has 2"),
        (tmp_path / "none.toml", "cannot be read: No such file"),
    ):
        model = bundle if "has 2" in told else write_bundle(tmp_path / "one", GRAPH)
        with pytest.raises(BadInput, match=told):
            deploy_triton(model, tmp_path / "out", name="net", around=Around(str(spec), "", {}))
    with pytest.raises(BadInput, match="this one has 0"):
        alone = write_bundle(tmp_path / "none", none, None)
        deploy_triton(alone, tmp_path / "out", name="net", around=Around(str(images / "preprocess.toml"), "", {}))
    with pytest.raises(BadInput, match="unknown setting 'size'"):
        deploy_triton(tmp_path / "one", tmp_path / "out", name="net", around=Around(str(tmp_path / "bad.toml"), "", {}))
    with pytest.raises(BadInput, match="clients send image files"):
        functions_around("preprocess.toml", "", [tmp_path / "raw.npz"])
    assert not (tmp_path / "out").exists()
