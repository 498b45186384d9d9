"""all-MiniLM-L6-v2 from safetensors to ONNX: last hidden state and the normalized mean embedding."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import BertConfig, BertModel

MASKED = -1e4  # added to the scores of padding, as in BERT's original implementation


class SentenceEncoder(nn.Module):
    """A forward pass of our own over BERT's weights: an additive mask, none of the library's helpers."""

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.bert.embeddings(input_ids=input_ids, token_type_ids=token_type_ids)
        penalty = (1.0 - attention_mask[:, None, None, :].float()) * MASKED
        for layer in self.bert.encoder.layer:
            attended = _attention(layer.attention.self, hidden, penalty)
            output = layer.attention.output
            hidden = output.LayerNorm(output.dense(attended) + hidden)
            hidden = layer.output.LayerNorm(layer.output.dense(layer.intermediate(hidden)) + hidden)
        mask = attention_mask[:, :, None].float()
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return hidden, nn.functional.normalize(mean, dim=1)


def _attention(layer: nn.Module, hidden: Tensor, penalty: Tensor) -> Tensor:
    batch, length, width = hidden.shape
    heads, size = layer.num_attention_heads, layer.attention_head_size
    query, key, value = (
        project(hidden).reshape(batch, length, heads, size).transpose(1, 2)
        for project in (layer.query, layer.key, layer.value)
    )
    weights = torch.softmax(query @ key.transpose(-1, -2) / size**0.5 + penalty, -1)
    return (weights @ value).transpose(1, 2).reshape(batch, length, width)


def export(folder: Path, out: Path) -> None:
    """``folder`` holds config.json and model.safetensors. Raises ``ValueError`` where weights are missing."""
    config = BertConfig(**json.loads((folder / "config.json").read_text()), attn_implementation="eager")
    bert = BertModel(config, add_pooling_layer=False).eval()
    missing = bert.load_state_dict(load_file(folder / "model.safetensors"), strict=False).missing_keys
    if missing := [name for name in missing if "position_ids" not in name]:
        raise ValueError(f"{folder}: no weights for {missing[0]}")
    ids = torch.randint(1000, 2000, (2, 16))
    axes = {0: "batch", 1: "seq"}
    names = ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(
        SentenceEncoder(bert),
        (ids, torch.ones_like(ids), torch.zeros_like(ids)),
        str(out),
        input_names=names,
        output_names=["last_hidden_state", "sentence_embedding"],
        opset_version=17,
        dynamo=False,
        dynamic_axes={**dict.fromkeys([*names, "last_hidden_state"], axes), "sentence_embedding": {0: "batch"}},
    )
