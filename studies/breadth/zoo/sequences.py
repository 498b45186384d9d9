"""Small nets on sequences, sets and tables: recurrent, convolutional, attending, routing."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import Tensor, nn


class Recurrent(nn.Module):
    def __init__(self, cell: nn.Module, width: int) -> None:
        super().__init__()
        self.cell, self.head = cell, nn.Linear(width, 7)

    def forward(self, rows: Tensor) -> Tensor:
        found: Tensor = self.head(self.cell(rows)[0][:, -1])
        return found


class Words(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.table, self.rest = nn.Embedding(500, 16), Recurrent(cell, 24)

    def forward(self, input_ids: Tensor) -> Tensor:
        found: Tensor = self.rest(self.table(input_ids))
        return found


class Temporal(nn.Module):
    """Dilated causal convolutions with residuals, trimmed on the right."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv1d(8 if k == 0 else 24, 24, 3, padding=2 << k, dilation=1 << k) for k in range(4)
        )
        self.head = nn.Linear(24, 5)

    def forward(self, wave: Tensor) -> Tensor:
        for k, layer in enumerate(self.layers):
            new = F.relu(layer(wave)[..., : -(2 << k)])
            wave = new if k == 0 else wave + new
        found: Tensor = self.head(wave.mean(-1))
        return found


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 16, 1)
        self.gates = nn.ModuleList(nn.Conv1d(16, 32, 2, dilation=1 << k) for k in range(4))
        self.skips = nn.ModuleList(nn.Conv1d(16, 16, 1) for _ in range(4))
        self.head = nn.Conv1d(16, 20, 1)

    def forward(self, wave: Tensor) -> Tensor:
        x, total = self.first(wave), torch.zeros(1)
        for k, (gate, skip) in enumerate(zip(self.gates, self.skips, strict=True)):
            a, b = gate(F.pad(x, (1 << k, 0))).chunk(2, 1)
            hidden = torch.tanh(a) * torch.sigmoid(b)
            x, total = x + hidden, total + skip(hidden)
        found: Tensor = self.head(F.relu(total))
        return found


class Keyword(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, 16, 9, 4, padding=4, padding_mode="reflect"),
            nn.BatchNorm1d(16),
            nn.Hardswish(),
            nn.Conv1d(16, 16, 5, groups=16, padding=2, padding_mode="replicate"),
            nn.Conv1d(16, 32, 1),
            nn.GELU(),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(32, 10),
        )

    def forward(self, wave: Tensor) -> Tensor:
        return F.log_softmax(self.layers(wave), -1)


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(16, 4)
        self.up, self.down = nn.Parameter(torch.randn(4, 16, 32) / 4), nn.Parameter(torch.randn(4, 32, 16) / 6)

    def forward(self, rows: Tensor) -> Tensor:
        share, which = torch.topk(F.softmax(self.gate(rows), -1), 2, -1)
        weight = torch.zeros_like(self.gate(rows)).scatter(-1, which, share / share.sum(-1, keepdim=True))
        hidden = F.silu(torch.einsum("bti,eio->bteo", rows, self.up))
        return (torch.einsum("bteo,eoi->btei", hidden, self.down) * weight.unsqueeze(-1)).sum(2) + rows


class GraphNet(nn.Module):
    """Messages along edges, summed where they arrive (scatter with reduction)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.message, self.head = nn.Linear(8, 24), nn.Linear(24, 24), nn.Linear(24, 4)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        hidden = F.relu(self.first(nodes))
        source, target = (edges[:, k].unsqueeze(-1).expand(-1, -1, 24) for k in (0, 1))
        sent = F.relu(self.message(torch.gather(hidden, 1, source)))
        hidden = hidden + torch.zeros_like(hidden).scatter_add(1, target, sent)
        found: Tensor = self.head(hidden.mean(1))
        return found


class PointNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Sequential(
            nn.Conv1d(3, 16, 1), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(16, 9)
        )
        self.each = nn.Sequential(nn.Conv1d(3, 32, 1), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 48, 1))
        self.head = nn.Linear(48, 5)

    def forward(self, rows: Tensor) -> Tensor:
        points = rows.transpose(1, 2)
        turned = (self.turn(points).reshape(-1, 3, 3) + torch.eye(3)) @ points
        found: Tensor = self.head(self.each(turned).max(-1).values)
        return found


class Ranking(nn.Module):
    """Tables of categories, products of every pair, a head: DLRM."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 8))
        self.tables = nn.ModuleList(nn.Embedding(50, 8) for _ in range(4))
        self.head = nn.Sequential(nn.Linear(8 + 10, 24), nn.ReLU(), nn.Linear(24, 1))

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        dense = self.dense(numbers)
        looked = torch.stack([dense, *(table(categories[:, k]) for k, table in enumerate(self.tables))], 1)
        pairs = looked @ looked.transpose(1, 2)
        first, second = torch.tril_indices(5, 5, -1)
        return torch.sigmoid(self.head(torch.cat([dense, pairs[:, first, second]], 1)))


class Conformer(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.norm, self.attend = nn.LayerNorm(width), nn.MultiheadAttention(width, 4, batch_first=True)
        self.wide, self.deep = nn.Conv1d(width, 2 * width, 1), nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.batch, self.head = nn.BatchNorm1d(width), nn.Linear(width, 10)

    def forward(self, rows: Tensor) -> Tensor:
        normed = self.norm(rows)
        rows = rows + self.attend(normed, normed, normed, need_weights=False)[0]
        gated = F.glu(self.wide(rows.transpose(1, 2)), 1)
        rows = rows + F.silu(self.batch(self.deep(gated))).transpose(1, 2)
        return F.log_softmax(self.head(rows), -1)


class Translator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Transformer(16, 4, 1, 1, 32, batch_first=True, dropout=0.0)

    def forward(self, rows: Tensor) -> Tensor:
        found: Tensor = self.layers(rows, rows[:, :8])
        return found


class Normalized(nn.Module):
    """Weights computed in the graph: standardized, and normalized to length one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.conv = (
            nn.Parameter(torch.randn(24, 16)),
            nn.utils.parametrizations.weight_norm(nn.Conv1d(24, 24, 3, padding=1)),
        )
        self.head = nn.Linear(24, 5)

    def forward(self, rows: Tensor) -> Tensor:
        weight = (self.weight - self.weight.mean(1, keepdim=True)) / (self.weight.std(1, keepdim=True) + 1e-5)
        hidden = F.relu(F.linear(rows, weight))
        found: Tensor = self.head(F.relu(self.conv(hidden.transpose(1, 2))).mean(-1))
        return found
