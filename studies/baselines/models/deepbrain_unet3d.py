"""A 3-D U-Net that masks the brain in an MR volume. One volume: mirrored, shifted and noisy copies of it.

Four copies calibrate; two others, shifted and noisy in their own ways, are held back and scored against the mask.
"""

from __future__ import annotations

from copy import copy
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Image
from skimage.transform import resize

from engines.engine import Array, Feed
from studies.baselines.metrics import dice
from studies.baselines.task import Infer

SIDE = 128  # voxels


class UNet3d:
    metric = "Dice"
    output = "prob"
    transformer = False

    def __init__(self, folder: Path, cache: Path) -> None:
        prepared = cache / "deepbrain_unet3d.npz"
        if not prepared.exists():
            np.savez(prepared, allow_pickle=False, **_volume_and_mask(folder))
        with np.load(prepared) as file:
            self._volume, self._mask = file["volume"], file["mask"]
        self._parts = [0, 1]

    def calibration(self, quick: bool) -> list[Feed]:
        rng = np.random.default_rng(0)
        mirrored = self._volume[::-1]
        volumes = [
            self._volume,
            _noisy(mirrored, 0.02, rng),
            _noisy(np.roll(self._volume, 4, 1) * 0.85, 0.01, rng),
            _noisy(np.roll(mirrored, -4, 2) ** 0.9, 0.03, rng),
        ]
        return [_feed(volume) for volume in volumes[: 2 if quick else None]]

    def held_back(self, quick: bool) -> list[Feed]:
        return [_feed(volume) for volume, _ in self._held_back()[: 1 if quick else None]]

    def half(self, which: int) -> UNet3d:
        """One of the two volumes, each shifted or mirrored and noisy in its own way."""
        part = copy(self)
        part._parts = [which]
        return part

    def score(self, infer: Infer, reference: Infer, quick: bool) -> float:
        held = self._held_back()[: 1 if quick else None]
        found = np.stack([infer(_feed(volume))["prob"].squeeze() > 0.5 for volume, _ in held])
        return dice(found, np.stack([mask for _, mask in held]))

    def _held_back(self) -> list[tuple[Array, Array]]:
        rng = np.random.default_rng(1)
        held = [
            (_noisy(np.roll(self._volume, -5, 0), 0.015, rng), np.roll(self._mask, -5, 0)),
            (_noisy(self._volume[::-1] ** 1.1, 0.025, rng), self._mask[::-1]),
        ]
        return [held[k] for k in self._parts]


def _volume_and_mask(folder: Path) -> dict[str, Array]:
    """The volume scaled to 128^3 and to 0..1, and its mask at the same size."""
    volume, brain = (Nifti1Image.from_filename(folder / name).get_fdata() for name in ("ch2.nii.gz", "ch2bet.nii.gz"))
    small = resize(volume.astype(np.float32), (SIDE,) * 3, mode="constant", anti_aliasing=True)
    mask = resize((brain > 0).astype(np.float32), (SIDE,) * 3) > 0.5
    return {"volume": (small / small.max()).astype(np.float32), "mask": mask}


def _noisy(volume: Array, sigma: float, rng: np.random.Generator) -> Array:
    return np.clip(volume + rng.normal(0, sigma, volume.shape), 0, None).astype(np.float32)


def _feed(volume: Array) -> Feed:
    return {"img": np.ascontiguousarray(volume, np.float32)[None, ..., None]}


def open_task(folder: Path, cache: Path) -> UNet3d:
    return UNet3d(folder, cache)
