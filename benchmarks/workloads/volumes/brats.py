"""Segmentation of brain tumours in MRI volumes with 3D-UNet: BraTS 2019, mean Dice of three regions.

The dataset folder holds one folder per patient, with ``NAME_flair``, ``NAME_t1``, ``NAME_t1ce``, ``NAME_t2`` and
``NAME_seg`` as ``.nii.gz``. Each modality is normalised over the brain, and the brain's box is placed into the
network's input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks.score import Score
from benchmarks.workloads.volumes.segmentations import dice, find_volume, read_nifti
from benchmarks.workloads.workload import Workload, split_rows
from engines.engine import Array, Feed, TensorSpec
from graphs.errors import BadInput

MODALITIES = ("flair", "t1", "t1ce", "t2")
REGIONS = {"whole tumour": (1, 2, 3), "tumour core": (2, 3), "enhancing tumour": (3,)}
"""Of the network's classes: 1 oedema, 2 necrosis, 3 enhancing (nnU-Net's order)."""
CLASS_OF_LABEL = np.array([0, 2, 1, 0, 3], np.uint8)  # BraTS labels: 1 necrosis, 2 oedema, 4 enhancing
DEFAULT_SIZE = (224, 224, 160)
"""Voxels of the network's input where the model does not fix them (MLPerf's 3D-UNet of v0.7)."""


class Brats:
    """BraTS 2019 for a network [batch, 4, …]. Answers are class volumes uint8 of the network's size."""

    def __init__(self, folder: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        if len(inputs) != 1 or len(inputs[0].shape) != 5 or inputs[0].shape[1] not in (4, "?"):
            raise BadInput("does not fit BraTS", where=inputs[0].name, expected="[batch, 4, depth, height, width]")
        self._spec = inputs[0]
        sizes = zip(inputs[0].shape[2:], DEFAULT_SIZE, strict=True)
        self._size = tuple(size if isinstance(size, int) else usual for size, usual in sizes)
        self._patients = sorted({path.parent for path in folder.rglob("*_seg.nii*")})
        if not self._patients:
            raise BadInput("no patients", where=str(folder), expected="PATIENT/PATIENT_seg.nii.gz and four modalities")
        self._prepared = lru_cache(maxsize=2)(self._prepare)

    def __len__(self) -> int:
        return len(self._patients)

    def feed(self, index: int) -> Feed:
        return {self._spec.name: self._prepared(index)[0][None].astype(self._spec.dtype, copy=False)}

    def answers(self, outputs: dict[str, Array], rows: Sequence[int]) -> list[Array]:
        return [next(iter(part.values()))[0].argmax(0).astype(np.uint8) for part in split_rows(outputs, rows)]

    def score(self, answers: Mapping[int, Array]) -> Score:
        """The mean over patients and regions."""
        table = np.array([self._dice(self._prepared(index)[1], answers[index]) for index in sorted(answers)])
        details = {f"Dice {name}": float(value) for name, value in zip(REGIONS, table.mean(0), strict=True)}
        return Score("mean Dice", float(table.mean()), table.mean(1), samples=len(table), details=details)

    def _dice(self, truth: Array, classes: Array) -> list[float]:
        return [dice(np.isin(classes, members), np.isin(truth, members)) for members in REGIONS.values()]

    def _prepare(self, index: int) -> tuple[Array, Array]:
        """(float32 [4, …], uint8 truth […]) of the network's size."""
        folder = self._patients[index]
        names = [f"{folder.name}_{modality}" for modality in MODALITIES]
        modalities = np.stack([read_nifti(find_volume(folder, name))[0] for name in names])
        labels, _ = read_nifti(find_volume(folder, f"{folder.name}_seg"))
        brain = (modalities != 0).any(0)
        for modality in modalities:
            values = modality[brain]
            modality[brain] = (values - values.mean()) / max(float(values.std()), 1e-8)
        box = _bounding_box(brain)
        truth = CLASS_OF_LABEL[labels.astype(np.uint8)]
        image = np.stack([_placed(modality[box], self._size) for modality in modalities])
        return image.astype(np.float32), _placed(truth[box], self._size)


def _bounding_box(mask: Array) -> tuple[slice, ...]:
    if not mask.any():
        return tuple(slice(0, size) for size in mask.shape)
    places = np.nonzero(mask)
    return tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in places)


def _placed(volume: Array, size: Sequence[int]) -> Array:
    """Cropped or padded with zeros to ``size``, centred."""
    for axis, (have, want) in enumerate(zip(volume.shape, size, strict=True)):
        if have > want:
            start = (have - want) // 2
            volume = volume.take(range(start, start + want), axis)
        elif have < want:
            widths = [(0, 0)] * volume.ndim
            widths[axis] = ((want - have) // 2, want - have - (want - have) // 2)
            volume = np.pad(volume, widths)
    return volume


UNET3D_BRATS = Workload(
    name="3d-unet-brats",
    open=Brats,
    metric="mean Dice",
    data="BraTS 2019: one folder per patient with four modalities and the segmentation",
    reference=0.853,
    targets=(0.99, 0.999),
    dataset_samples=67,
    performance_samples=16,
    server_latency_ms=None,
    rounds="v0.7 to v1.1",
)
