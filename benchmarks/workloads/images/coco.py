"""Detection data in COCO's format, and its metric, mean average precision over IoU 0.50 to 0.95 (pycocotools)."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engines.engine import Array
from graphs.errors import BadInput
from graphs.optional_packages import optional

IMAGE_FOLDERS = ("val2017", "validation/data", "images", ".")


@dataclass(frozen=True)
class CocoImage:
    """An image of the annotation file; height and width are those of the original."""

    id: int
    path: Path
    height: int
    width: int


class CocoData:
    """``FOLDER/annotations/*.json`` (one file) and the images in ``val2017/``, ``validation/data/`` or ``images/``.

    Images that are not there are left out, as the reference does. Raises ``BadInput`` naming what is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.annotations = _annotation_file(folder)
        self._content = _read(self.annotations)
        found = [self._image(folder, entry) for entry in self._content["images"]]
        self.images = [image for image in found if image is not None]
        self.categories = sorted(int(category["id"]) for category in self._content["categories"])
        if not self.images:
            raise BadInput(
                "none of the annotated images is there",
                where=str(folder),
                expected=f"{self._content['images'][0]['file_name']} in one of {', '.join(IMAGE_FOLDERS)}",
            )

    def _image(self, folder: Path, entry: Mapping[str, Any]) -> CocoImage | None:
        for place in IMAGE_FOLDERS:
            path = folder / place / entry["file_name"]
            if path.is_file():
                return CocoImage(int(entry["id"]), path, int(entry["height"]), int(entry["width"]))
        return None

    def mean_average_precision(self, detections: Mapping[int, Array]) -> dict[str, float]:
        """``mAP`` (IoU 0.50 to 0.95) and ``mAP@0.5`` over the images that were run.

        ``detections``: image id -> float32 [k, 6] of x, y, width, height in pixels, score, category id.
        """
        coco = optional("pycocotools.coco", "workloads", "COCO's mAP")
        cocoeval = optional("pycocotools.cocoeval", "workloads", "COCO's mAP")
        rows = [
            np.column_stack([np.full(len(found), image), found[:, :6]])
            for image, found in detections.items()
            if len(found)
        ]
        if not rows:
            return {"mAP": 0.0, "mAP@0.5": 0.0}
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
            truth = coco.COCO()
            truth.dataset = self._with_defaults()
            truth.createIndex()
            evaluation = cocoeval.COCOeval(truth, truth.loadRes(np.concatenate(rows).astype(np.float64)), "bbox")
            evaluation.params.imgIds = sorted(detections)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return {"mAP": max(0.0, float(evaluation.stats[0])), "mAP@0.5": max(0.0, float(evaluation.stats[1]))}

    def _with_defaults(self) -> dict[str, Any]:
        """pycocotools wants fields that own annotation files often lack."""
        annotations = [
            {"iscrowd": 0, "area": entry["bbox"][2] * entry["bbox"][3], "id": number, **entry}
            for number, entry in enumerate(self._content["annotations"], 1)
        ]
        return {**self._content, "annotations": annotations, "info": self._content.get("info", {})}


def _annotation_file(folder: Path) -> Path:
    files = sorted((folder / "annotations").glob("*.json"))
    instances = [file for file in files if file.name.startswith("instances_val")] or files
    if len(instances) != 1:
        what = "no annotation file" if not instances else f"{len(instances)} annotation files"
        raise BadInput(what, where=str(folder / "annotations"), expected="one, as instances_val2017.json")
    return instances[0]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in ("images", "annotations", "categories") if not isinstance(content.get(key), list)]
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput(f"not COCO annotations: {error}", where=str(path)) from error
    if missing or not content["images"]:
        raise BadInput(f"has no list of {', '.join(missing) or 'images'}", where=str(path), expected="COCO annotations")
    checked: dict[str, Any] = content
    return checked
