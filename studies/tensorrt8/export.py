"""ResNet-50 and BERT-base with random weights, and random inputs: ``python -m studies.tensorrt8.export FOLDER``.

Needs torch, transformers and onnx (``pip install torch transformers onnx``); nothing is downloaded. Each model gets
``FOLDER/NAME/model.onnx``, ``calib.npz`` and ``held.npz``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 32
TOKENS = 128


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    import torch

    torch.manual_seed(0)
    _resnet(folder / "resnet50")
    _bert(folder / "bert_base")
    return 0


def _resnet(folder: Path) -> None:
    from transformers import ResNetConfig, ResNetForImageClassification

    model = ResNetForImageClassification(ResNetConfig(num_labels=1000)).eval()
    rng = np.random.default_rng(0)
    images = rng.normal(size=(3 * SAMPLES, 3, 224, 224)).astype(np.float32)
    smooth = (images + np.roll(images, 1, 2) + np.roll(images, 1, 3) + np.roll(images, (1, 1), (2, 3))) / 2
    _save(folder, model, {"pixel_values": smooth}, ["logits"])


def _bert(folder: Path) -> None:
    from transformers import BertConfig, BertModel

    model = BertModel(BertConfig(attn_implementation="eager")).eval()
    rng = np.random.default_rng(0)
    ids = rng.integers(1000, 30000, (2 * SAMPLES, TOKENS))
    lengths = rng.integers(TOKENS // 4, TOKENS + 1, (2 * SAMPLES, 1))
    mask = (np.arange(TOKENS) < lengths).astype(np.int64)

    feeds = {"input_ids": np.where(mask == 1, ids, 0), "attention_mask": mask}
    _save(folder, model, feeds, ["last_hidden_state", "pooler_output"])


def _save(folder: Path, model: Any, feeds: dict[str, np.ndarray], outputs: list[str]) -> None:
    import torch

    class Named(torch.nn.Module):
        """The model with inputs by place and no outputs but these, as the exporter wants them."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Any) -> Any:
            found = self.model(**dict(zip(feeds, inputs, strict=True)))
            return tuple(found[name] for name in outputs)

    folder.mkdir(parents=True, exist_ok=True)
    first = tuple(torch.from_numpy(np.ascontiguousarray(array[:2])) for array in feeds.values())
    torch.onnx.export(
        Named(),
        first,
        str(folder / "model.onnx"),
        input_names=list(feeds),
        output_names=outputs,
        dynamic_axes={name: {0: "batch"} for name in (*feeds, *outputs)},
        opset_version=17,
        dynamo=False,
    )
    np.savez(folder / "calib.npz", **{name: array[:SAMPLES] for name, array in feeds.items()})
    np.savez(folder / "held.npz", **{name: array[SAMPLES:] for name, array in feeds.items()})


if __name__ == "__main__":
    raise SystemExit(main())
