"""Segmentation of kidneys and their tumours in CT volumes with 3D-UNet: KiTS19, mean Dice.

The dataset folder holds ``case_*/imaging.nii.gz`` and ``case_*/segmentation.nii.gz``. A volume is resampled to
1.6 x 1.2 x 1.2 mm, clipped and normalised, brought to sizes that windows of the network fit, and run in overlapping
windows (``benchmarks.workloads.volumes.sliding``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks.score import Score
from benchmarks.workloads.volumes.segmentations import dice, find_volume, read_nifti
from benchmarks.workloads.volumes.sliding import LABELS, VOLUME, SlidingWindowEngine
from benchmarks.workloads.workload import Workload
from engines.engine import Array, Feed, TensorSpec
from graphs.errors import BadInput
from graphs.optional_packages import optional

SPACING = (1.6, 1.2, 1.2)  # mm
LOWEST, HIGHEST = -79.0, 304.0  # Hounsfield units
MEAN, STD = 101.0, 76.9
"""Of the clipped foreground in Hounsfield units (MLPerf's reference, preprocess.py)."""
PADDING = -2.2  # about what LOWEST becomes
WINDOW = 128
"""Voxels per axis (the reference's region of interest)."""


class Kits19:
    """KiTS19 for a network behind ``SlidingWindowEngine``. Answers are label volumes uint8: 1 kidney, 2 tumour."""

    def __init__(self, folder: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self._cases = sorted(path for path in folder.glob("case_*") if path.is_dir())
        if not self._cases:
            raise BadInput("no cases", where=str(folder), expected="case_00000/imaging.nii.gz and segmentation.nii.gz")
        for case in self._cases:
            find_volume(case, "imaging")
            find_volume(case, "segmentation")
        self._prepared = lru_cache(maxsize=2)(self._prepare)

    def __len__(self) -> int:
        return len(self._cases)

    def feed(self, index: int) -> Feed:
        return {VOLUME: self._prepared(index)[0][None, None]}

    def answers(self, outputs: dict[str, Array], rows: Sequence[int]) -> list[Array]:
        return list(outputs[LABELS])

    def score(self, answers: Mapping[int, Array]) -> Score:
        """The mean over cases of the mean Dice of kidney and tumour."""
        both = [self._dice(self._prepared(index)[1], answers[index]) for index in sorted(answers)]
        table = np.asarray(both, np.float64)
        details = {"Dice kidney": float(table[:, 0].mean()), "Dice tumour": float(table[:, 1].mean())}
        return Score("mean Dice", float(table.mean()), table.mean(1), samples=len(both), details=details)

    def _dice(self, truth: Array, labels: Array) -> tuple[float, float]:
        return dice(labels == 1, truth == 1), dice(labels == 2, truth == 2)

    def _prepare(self, index: int) -> tuple[Array, Array]:
        """(float32 image, uint8 truth), both [depth, height, width]."""
        case = self._cases[index]
        image, spacing = read_nifti(find_volume(case, "imaging"))
        truth, _ = read_nifti(find_volume(case, "segmentation"))
        image, truth = _resampled(image, truth.astype(np.uint8), spacing)
        image = (np.clip(image, LOWEST, HIGHEST) - MEAN) / STD
        return fit_windows(image.astype(np.float32), PADDING), fit_windows(truth, 0)


def _resampled(image: Array, truth: Array, spacing: Sequence[float]) -> tuple[Array, Array]:
    factors = [have / want for have, want in zip(spacing, SPACING, strict=True)]
    if np.allclose(factors, 1.0):
        return image, truth
    ndimage = optional("scipy.ndimage", "workloads", "resampling volumes")
    larger = ndimage.zoom(image, factors, order=1, mode="constant", cval=float(image.min()), grid_mode=False)
    labels = ndimage.zoom(truth, factors, order=0, mode="constant", cval=int(truth.min()), grid_mode=False)
    return larger, labels


def fit_windows(volume: Array, padding: float, window: int = WINDOW) -> Array:
    """At least one window long on each axis, and a multiple of half a window: a remainder under a quarter of a window
    is cropped, a larger one padded, both evenly on the two sides (the reference's rule).
    """
    step = window // 2
    short = [max(0, window - size) for size in volume.shape]
    volume = np.pad(volume, [(n // 2, n - n // 2) for n in short], mode="edge")
    extra = [size % step if size % step < step // 2 else 0 for size in volume.shape]
    volume = volume[tuple(slice(n // 2, size - (n - n // 2)) for n, size in zip(extra, volume.shape, strict=True))]
    missing = [-size % step for size in volume.shape]
    widths = [(n // 2, n - n // 2) for n in missing]
    return np.pad(volume, widths, constant_values=volume.dtype.type(padding))


UNET3D = Workload(
    name="3d-unet",
    open=Kits19,
    metric="mean Dice",
    data="KiTS19: case_*/imaging.nii.gz and segmentation.nii.gz",
    reference=0.86170,
    targets=(0.99, 0.999),
    dataset_samples=43,
    performance_samples=43,
    server_latency_ms=None,
    mlperf_name="3d-unet",
    rounds="v2.0 to today",
    open_engine=SlidingWindowEngine.open,
)
