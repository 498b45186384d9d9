"""Networks of transformers, small: text, vision, audio and time series, each a family of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from studies.breadth.zoo.architecture import SAMPLES, Architecture, field_of, images, tokens, waves

_WIDTH = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
_TEXT = {**_WIDTH, "vocab_size": 500}
_SEEN = {**_WIDTH, "image_size": 48, "patch_size": 8}

_TEXTS: tuple[tuple[str, str, dict[str, Any], str, bool], ...] = (
    # name, class, configuration, inputs (ids with or without mask), exported by dynamo
    ("bert", "BertForSequenceClassification", _TEXT, "mask", True),
    ("roberta", "RobertaForTokenClassification", _TEXT, "mask", False),
    (
        "distilbert",
        "DistilBertModel",
        {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128, "vocab_size": 500},
        "mask",
        True,
    ),
    ("albert", "AlbertModel", {**_TEXT, "embedding_size": 32}, "mask", False),
    ("electra", "ElectraForTokenClassification", {**_TEXT, "embedding_size": 32}, "mask", True),
    (
        "deberta_v2",
        "DebertaV2Model",
        {**_TEXT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
        "mask",
        False,
    ),
    ("mpnet", "MPNetModel", _TEXT, "mask", True),
    ("mobilebert", "MobileBertModel", {"num_hidden_layers": 2, "vocab_size": 500}, "mask", True),
    ("fnet", "FNetModel", {k: v for k, v in _TEXT.items() if k != "num_attention_heads"}, "ids", True),
    ("squeezebert", "SqueezeBertModel", {**_TEXT, "embedding_size": 64}, "mask", False),
    (
        "funnel",
        "FunnelBaseModel",
        {"block_sizes": [1, 1], "d_model": 64, "n_head": 4, "d_head": 16, "d_inner": 128, "vocab_size": 500},
        "mask",
        True,
    ),
    (
        "t5_encoder",
        "T5EncoderModel",
        {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "vocab_size": 500},
        "mask",
        True,
    ),
    ("gpt2", "GPT2LMHeadModel", {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 500}, "ids", True),
    ("llama", "LlamaForCausalLM", {**_TEXT, "num_key_value_heads": 2}, "mask", True),
    ("gemma2", "Gemma2ForCausalLM", {**_TEXT, "num_key_value_heads": 2, "head_dim": 16}, "ids", True),
    ("phi", "PhiForCausalLM", _TEXT, "ids", False),
    ("qwen2", "Qwen2ForCausalLM", {**_TEXT, "num_key_value_heads": 2}, "ids", True),
    (
        "mamba",
        "MambaModel",
        {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 500, "state_size": 8},
        "ids",
        True,
    ),
    (
        "opt",
        "OPTModel",
        {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 128,
            "vocab_size": 500,
            "word_embed_proj_dim": 64,
        },
        "mask",
        False,
    ),
)
_VISION: tuple[tuple[str, str, dict[str, Any], bool], ...] = (
    ("vit", "ViTModel", _SEEN, True),
    ("deit", "DeiTModel", _SEEN, False),
    ("dinov2", "Dinov2Model", {**{k: v for k, v in _SEEN.items() if k != "intermediate_size"}}, True),
    ("yolos", "YolosModel", {**_SEEN, "image_size": [48, 48], "num_detection_tokens": 5}, False),
    (
        "segformer",
        "SegformerForSemanticSegmentation",
        {"depths": [1] * 4, "hidden_sizes": [16, 32, 48, 64], "decoder_hidden_size": 32},
        True,
    ),
    (
        "mobilevit",
        "MobileViTModel",
        {"image_size": 48, "hidden_sizes": [48, 64, 80], "neck_hidden_sizes": [16, 16, 24, 48, 64, 80, 160]},
        False,
    ),
    (
        "swinv2",
        "Swinv2Model",
        {"image_size": 48, "embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4], "window_size": 6},
        True,
    ),
    ("convnextv2", "ConvNextV2Model", {"depths": [1] * 4, "hidden_sizes": [16, 32, 48, 64]}, False),
    ("resnet_hf", "ResNetModel", {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1]}, True),
    (
        "levit_hf",
        "LevitModel",
        {
            "image_size": 64,
            "hidden_sizes": [32, 48, 64],
            "num_attention_heads": [2, 3, 4],
            "depths": [1, 1, 1],
            "key_dim": [16, 16, 16],
        },
        False,
    ),
    ("poolformer_hf", "PoolFormerModel", {"depths": [1] * 4, "hidden_sizes": [16, 32, 48, 64]}, True),
)
_CONVOLVED = {
    **_WIDTH,
    "vocab_size": 32,
    "num_feat_extract_layers": 3,
    "conv_dim": (32, 32, 32),
    "conv_stride": (5, 4, 4),
    "conv_kernel": (10, 8, 4),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def architectures() -> Iterator[Architecture]:
    for name, cls, options, given, dynamo in _TEXTS:
        names = ("input_ids", "attention_mask") if given == "mask" else ("input_ids",)
        words = tokens(mask=given == "mask", pad=1 if name in ("roberta", "mpnet") else 0)
        varying = {key: {1: "sequence"} for key in names} if dynamo else {}
        yield _of(f"tf_{name}", cls, options, names, words, dynamo, varying)
    for name, cls, options, dynamo in _VISION:
        size = options.get("image_size", 64)
        pixels = images(size if isinstance(size, int) else size[0])
        yield _of(f"tf_{name}", cls, options, ("pixel_values",), _renamed(pixels, "pixel_values"), dynamo)
    sound = _renamed(waves(2000), "input_values")
    yield _of("tf_wav2vec2", "Wav2Vec2ForCTC", _CONVOLVED, ("input_values",), sound, True)
    yield _of("tf_hubert", "HubertModel", _CONVOLVED, ("input_values",), sound, False)
    yield Architecture("tf_detr", "transformers", _detr, _renamed(images(64), "pixel_values"), True, 18)
    yield Architecture("tf_whisper_encoder", "transformers", _whisper, _mel, True, 18)
    yield Architecture("tf_bart_encoder", "transformers", _bart, tokens(pad=1), True, 18)
    yield Architecture("tf_patchtst", "transformers", _patchtst, _series, False)


def _of(
    name: str,
    cls: str,
    options: dict[str, Any],
    names: Sequence[str],
    inputs: Callable[[], dict[str, Tensor]],
    dynamo: bool,
    varying: dict[str, dict[int, str]] | None = None,
) -> Architecture:
    def make() -> nn.Module:
        import transformers

        kind: Any = getattr(transformers, cls)
        config = kind.config_class(**options)
        config._attn_implementation = "eager"
        if hasattr(config, "use_cache"):
            config.use_cache = False
        return _First(kind(config), names)

    return Architecture(name, "transformers", make, inputs, dynamo, 18 if dynamo else 17, varying or {})


class _First(nn.Module):
    """The first output of a model whose inputs have names."""

    def __init__(self, module: nn.Module, names: Sequence[str], keys: Sequence[str] = ()) -> None:
        super().__init__()
        self.module, self.names, self.keys = module, tuple(names), tuple(keys)

    def forward(self, first: Tensor, second: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        given = [first] if second is None else [first, second]
        found = self.module(**dict(zip(self.names, given, strict=False)), return_dict=True)
        answer: Tensor = found[0]
        return tuple(found[key] for key in self.keys) if self.keys else answer


def _renamed(inputs: Callable[[], dict[str, Tensor]], name: str) -> Callable[[], dict[str, Tensor]]:
    return lambda: {name: next(iter(inputs().values()))}


def _detr() -> nn.Module:
    import transformers

    backbone = transformers.ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], out_features=["stage2"]
    )
    config = transformers.DetrConfig(
        use_timm_backbone=False,
        backbone_config=backbone,
        num_queries=10,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
    )
    return _First(transformers.DetrForObjectDetection(config), ["pixel_values"], ["logits", "pred_boxes"])


def _encoder_decoder(cls: str, config: str, **more: Any) -> nn.Module:
    import transformers

    sizes = {"encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    made = getattr(transformers, config)(
        d_model=64, encoder_layers=2, decoder_layers=1, vocab_size=500, **sizes, **more
    )
    encoder: nn.Module = getattr(transformers, cls)(made).encoder
    return encoder


def _whisper() -> nn.Module:
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    return _First(
        _encoder_decoder("WhisperModel", "WhisperConfig", max_source_positions=40, **special), ["input_features"]
    )


def _mel() -> dict[str, Tensor]:
    return {"input_features": field_of((SAMPLES, 80, 80))}


def _bart() -> nn.Module:
    return _First(_encoder_decoder("BartModel", "BartConfig"), ["input_ids", "attention_mask"])


def _patchtst() -> nn.Module:
    import transformers

    config = transformers.PatchTSTConfig(
        context_length=64,
        prediction_length=16,
        num_input_channels=3,
        patch_length=8,
        patch_stride=8,
        d_model=32,
        num_attention_heads=4,
        num_hidden_layers=2,
        ffn_dim=64,
        loss="mse",
    )
    return _First(transformers.PatchTSTForPrediction(config), ["past_values"])


def _series() -> dict[str, Tensor]:
    return {"past_values": torch.stack([waves(64)()["wave"] for _ in range(3)], -1)}
