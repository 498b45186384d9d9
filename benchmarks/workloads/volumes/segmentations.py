"""Reading NIfTI volumes, and the Dice score of segmentations."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engines.engine import Array
from graphs.errors import BadInput
from graphs.optional_packages import optional

SMOOTHING = 1e-6
"""Keeps the score of two empty masks at 1, and is far below one voxel. Chosen."""


def read_nifti(path: Path) -> tuple[Array, tuple[float, float, float]]:
    """(float32 volume, voxel spacing in mm per axis). Raises ``BadInput`` naming the file."""
    nibabel = optional("nibabel", "workloads", "reading NIfTI volumes")
    try:
        image = nibabel.load(str(path))
        volume = np.asarray(image.dataobj, np.float32)
    except (OSError, ValueError, nibabel.filebasedimages.ImageFileError) as error:
        raise BadInput(f"cannot be read as NIfTI: {error}", where=str(path)) from error
    first, second, third = (float(size) for size in image.header["pixdim"][1:4])
    return volume, (first, second, third)


def find_volume(folder: Path, stem: str) -> Path:
    """``STEM.nii.gz`` or ``STEM.nii``. Raises ``BadInput``."""
    for suffix in (".nii.gz", ".nii"):
        if (path := folder / f"{stem}{suffix}").is_file():
            return path
    raise BadInput("no such volume", where=str(folder / f"{stem}.nii.gz"))


def dice(found: Array, truth: Array) -> float:
    """2 |A and B| / (|A| + |B|) of two masks, 1 where both are empty."""
    both = np.count_nonzero(found & truth)
    return (2 * both + SMOOTHING) / (np.count_nonzero(found) + np.count_nonzero(truth) + SMOOTHING)
