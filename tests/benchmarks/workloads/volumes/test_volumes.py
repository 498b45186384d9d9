"""3D-UNet: NIfTI volumes, windows that overlap, Dice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.workloads.evaluate import evaluate
from benchmarks.workloads.volumes.brats import UNET3D_BRATS
from benchmarks.workloads.volumes.kits19 import UNET3D, fit_windows
from benchmarks.workloads.volumes.segmentations import dice
from benchmarks.workloads.volumes.sliding import SlidingWindowEngine, gaussian, window_places
from engines.engine import Array, TensorSpec
from engines.errors import EngineError
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.errors import BadInput
from tests.benchmarks.workloads.graphs_for_tests import save_graph
from tests.drawing import seeded

nibabel = pytest.importorskip("nibabel")
RNG = seeded(5)


def save_volume(path: Path, volume: Array, spacing: tuple[float, float, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([*spacing, 1.0])), str(path))


def thresholds(path: Path, sizes: str, channels: int, weights: Array, bias: Array) -> Path:
    """A network of one 1x1x1 convolution: scores [classes] are linear in the voxel."""
    return save_graph(
        f"""
        net (float[batch,{channels},{sizes}] volume) => (float[batch,{len(bias)},{sizes}] scores) {{
            scores = Conv(volume, w, b)
        }}""",
        path,
        {"w": weights.reshape(len(bias), channels, 1, 1, 1).astype(np.float32), "b": bias.astype(np.float32)},
    )


def test_kits19_from_files_to_dice(tmp_path: Path) -> None:
    """Voxels at -79, 120 and 280 HU are background, kidney and tumour; the network's scores split them right there."""
    values = np.array([-79.0, 120.0, 280.0])
    truth = np.zeros((40, 40, 40), np.uint8)
    truth[5:20, 5:20, 5:20], truth[25:35, 25:35, 25:35] = 1, 2
    save_volume(tmp_path / "case_00000" / "imaging.nii.gz", values[truth].astype(np.int16), (1.6, 1.2, 1.2))
    save_volume(tmp_path / "case_00000" / "segmentation.nii.gz", truth, (1.6, 1.2, 1.2))
    x = (values - 101.0) / 76.9
    # background 0, kidney grows with the voxel, tumour twice as fast: the lines cross between the values
    first, second = (x[0] + x[1]) / 2, (x[1] + x[2]) / 2
    weights, bias = np.array([0.0, 1.0, 2.0]), np.array([0.0, -first, -first - second])
    with SlidingWindowEngine.open(str(thresholds(tmp_path / "n.onnx", "128,128,128", 1, weights, bias))) as engine:
        task = UNET3D.open(tmp_path, engine.inputs, engine.outputs)
        volume = task.feed(0)["volume"]
        assert volume.shape == (1, 1, 128, 128, 128) and volume.dtype == np.float32
        score = evaluate(engine, task)
    assert score.value == pytest.approx(1.0, abs=1e-6)
    assert set(score.details) == {"Dice kidney", "Dice tumour"}


def test_other_spacings_are_resampled(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    image = RNG.integers(-100, 300, (20, 30, 30)).astype(np.int16)
    save_volume(tmp_path / "case_00001" / "imaging.nii.gz", image, (12.8, 4.8, 4.8))
    save_volume(tmp_path / "case_00001" / "segmentation.nii.gz", np.zeros(image.shape, np.uint8), (12.8, 4.8, 4.8))
    task = UNET3D.open(tmp_path, (), ())
    assert task.feed(0)["volume"].shape == (1, 1, 192, 128, 128), "160 and 120 voxels of 1.6 and 1.2 mm, padded"


@pytest.mark.parametrize(("size", "fitted"), [(40, 128), (128, 128), (140, 128), (170, 192), (192, 192)])
def test_sizes_fit_windows(size: int, fitted: int) -> None:
    assert fit_windows(np.zeros((size, 128, 128), np.float32), -2.2).shape == (fitted, 128, 128)


def test_windows_cover_the_volume_and_blend_to_the_same_labels(tmp_path: Path) -> None:
    places = list(window_places((10, 8, 8), (4, 4, 4)))
    covered = np.zeros((10, 8, 8))
    for place in places:
        covered[place] += 1
    assert covered.min() >= 1 and len(places) == 4 * 3 * 3
    assert gaussian((5, 5, 5))[2, 2, 2] == 1 and gaussian((4, 4, 4)).min() > 0
    model = thresholds(tmp_path / "n.onnx", "8,8,8", 1, np.array([0.0, 1.0]), np.array([0.0, 0.3]))
    volume = RNG.standard_normal((1, 1, 20, 12, 9)).astype(np.float32)
    with SlidingWindowEngine.open(str(model)) as engine:
        labels = engine.infer({"volume": volume})["labels"]
        np.testing.assert_array_equal(labels[0], volume[0, 0] > -0.3)
        with pytest.raises(EngineError, match="smaller than the window"):
            engine.infer({"volume": volume[:, :, :4]})
        with pytest.raises(EngineError, match="NaN"):
            engine.infer({"volume": volume * np.nan})


def test_brats_from_files_to_dice(tmp_path: Path) -> None:
    """The four modalities carry the labels, so a network that reads them off is right."""
    truth = np.zeros((12, 14, 10), np.uint8)
    truth[3:9, 3:9, 3:7], truth[4:7, 4:7, 4:6], truth[5:6, 5:6, 4:6] = 2, 1, 4
    for number, (name, label) in enumerate([("flair", 2), ("t1", 1), ("t1ce", 4), ("t2", 0)]):
        modality = np.where(truth == label, 100.0, 10.0) + (number + 1)
        save_volume(tmp_path / "BraTS19_A" / f"BraTS19_A_{name}.nii.gz", modality.astype(np.float32), (1, 1, 1))
    save_volume(tmp_path / "BraTS19_A" / "BraTS19_A_seg.nii.gz", truth, (1, 1, 1))
    weights = np.zeros((4, 4))
    weights[1, 0] = weights[2, 1] = weights[3, 2] = 1.0  # classes: oedema, necrosis, enhancing
    model = thresholds(tmp_path / "n.onnx", "16,16,16", 4, weights, np.array([0.0, 0.0, 0.0, 0.0]))
    with OnnxRuntimeEngine(model) as engine:
        task = UNET3D_BRATS.open(tmp_path, engine.inputs, engine.outputs)
        assert task.feed(0)["volume"].shape == (1, 4, 16, 16, 16)
        score = evaluate(engine, task)
    assert score.value == pytest.approx(1.0, abs=0.02)
    assert set(score.details) == {"Dice whole tumour", "Dice tumour core", "Dice enhancing tumour"}


def test_dice_by_hand() -> None:
    found, truth = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    assert dice(found, truth) == pytest.approx(0.5)
    assert dice(found & ~found, truth & ~truth) == 1


def test_missing_volumes_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no cases"):
        UNET3D.open(tmp_path, (), ())
    (tmp_path / "case_00000").mkdir()
    with pytest.raises(BadInput, match=r"imaging\.nii\.gz: no such volume"):
        UNET3D.open(tmp_path, (), ())
    with pytest.raises(BadInput, match="no patients"):
        UNET3D_BRATS.open(tmp_path, (TensorSpec("x", "float32", (1, 4, 8, 8, 8)),), ())
