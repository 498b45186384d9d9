"""Small nets of our own with the inputs they are made for."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from studies.breadth.zoo import pictures, sequences
from studies.breadth.zoo.architecture import SAMPLES, Architecture, field_of, images, rows, tokens, waves


def architectures() -> Iterator[Architecture]:
    sequence, picture = rows(24, 16), images(32)
    for name, make, inputs, dynamo in (
        (
            "lstm",
            lambda: sequences.Recurrent(nn.LSTM(16, 24, 2, batch_first=True, bidirectional=True), 48),
            sequence,
            True,
        ),
        ("gru", lambda: sequences.Recurrent(nn.GRU(16, 24, batch_first=True), 24), sequence, False),
        ("rnn_words", lambda: sequences.Words(nn.RNN(16, 24, batch_first=True)), tokens(20, mask=False), False),
        ("tcn", sequences.Temporal, waves(128, 8), True),
        ("wavenet", sequences.Gated, waves(200, 1), False),
        ("conv1d_reflect", sequences.Keyword, waves(256, 1), False),
        ("unet_bilinear", lambda: pictures.UNet("bilinear"), picture, True),
        ("unet_transposed", lambda: pictures.UNet("transposed"), picture, False),
        ("unet_nearest", lambda: pictures.UNet("nearest"), picture, False),
        ("unet3d", pictures.Volume, _volumes, False),
        ("gan", pictures.Generator, _latent, True),
        ("vae", pictures.AutoEncoder, picture, False),
        ("superresolution", pictures.SuperResolution, picture, True),
        ("detector", pictures.Detector, images(64), True),
        ("detector_ts", pictures.Detector, images(64), False),
        ("experts", sequences.Experts, sequence, True),
        ("experts_ts", sequences.Experts, sequence, False),
        ("graph", sequences.GraphNet, _graphs, True),
        ("graph_ts", sequences.GraphNet, _graphs, False),
        ("points", sequences.PointNet, rows(64, 3), False),
        ("ranking", sequences.Ranking, _clicks, False),
        ("diffusion", pictures.Denoiser, _noised, True),
        ("siamese", pictures.Siamese, _pairs, True),
        ("conformer", sequences.Conformer, sequence, True),
        ("transformer", sequences.Translator, sequence, False),
        ("capsule", pictures.Capsule, picture, False),
        ("channels_last", pictures.ChannelsLast, _channels_last, False),
        ("grid_sample", pictures.Warped, picture, False),
        ("odd_pools", pictures.OddPools, picture, True),
        ("weight_norm", sequences.Normalized, sequence, False),
        ("bytes", pictures.Bytes, _bytes, False),
        ("double", lambda: pictures.Plain().double(), _double, False),
        ("half", lambda: pictures.Plain().half(), _half, False),
    ):
        yield Architecture(f"own_{name}", "own small nets", make, inputs, dynamo, 18 if dynamo else 17)
    for name, make, inputs in (
        ("lstm23", sequences.Conformer, sequence),
        ("unet23", lambda: pictures.UNet("bilinear"), picture),
    ):
        yield Architecture(f"own_{name}", "own small nets", make, inputs, dynamo=True, opset=23)


def _volumes() -> dict[str, Tensor]:
    return {"volume": field_of((SAMPLES, 1, 16 * 8, 16)).reshape(SAMPLES, 1, 16, 8, 16)}


def _latent() -> dict[str, Tensor]:
    return {"latent": torch.randn(SAMPLES, 32, 1, 1, generator=torch.Generator().manual_seed(1))}


def _graphs() -> dict[str, Tensor]:
    made = torch.Generator().manual_seed(2)
    return {
        "nodes": torch.randn(SAMPLES, 16, 8, generator=made),
        "edges": torch.randint(0, 16, (SAMPLES, 2, 30), generator=made),
    }


def _clicks() -> dict[str, Tensor]:
    made = torch.Generator().manual_seed(4)
    return {
        "numbers": torch.rand(SAMPLES, 10, generator=made).log1p() * 3,
        "categories": torch.randint(0, 50, (SAMPLES, 4), generator=made),
    }


def _noised() -> dict[str, Tensor]:
    return {"image": field_of((SAMPLES, 3, 16, 16)), "time": torch.linspace(1, 900, SAMPLES)}


def _pairs() -> dict[str, Tensor]:
    return {"left": field_of((SAMPLES, 3, 32, 32), 1), "right": field_of((SAMPLES, 3, 32, 32), 2)}


def _channels_last() -> dict[str, Tensor]:
    return {"image": field_of((SAMPLES, 3, 32, 32)).permute(0, 2, 3, 1).contiguous()}


def _bytes() -> dict[str, Tensor]:
    return {"image": (field_of((SAMPLES, 3, 32, 32)) * 50 + 115).clamp(0, 255).to(torch.uint8)}


def _double() -> dict[str, Tensor]:
    return {"image": field_of((SAMPLES, 3, 32, 32)).double()}


def _half() -> dict[str, Tensor]:
    return {"image": field_of((SAMPLES, 3, 32, 32)).half()}
