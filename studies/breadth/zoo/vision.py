"""Networks of torchvision and timm, each a family of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from studies.breadth.zoo.architecture import SAMPLES, Architecture, field_of, images

_TORCHVISION: tuple[tuple[str, int, bool, int], ...] = (
    # name, image size, exported by dynamo, opset
    *(("alexnet", 96, False, 13), ("vgg11_bn", 64, True, 18), ("resnet18", 64, True, 20), ("resnet50", 64, False, 17)),
    *(("resnext50_32x4d", 64, True, 18), ("densenet121", 64, False, 17), ("googlenet", 64, True, 18)),
    *(("squeezenet1_1", 64, True, 18), ("mobilenet_v2", 64, False, 14), ("mobilenet_v3_small", 64, True, 18)),
    *(("efficientnet_b0", 64, False, 17), ("efficientnet_v2_s", 64, True, 18), ("shufflenet_v2_x1_0", 64, False, 17)),
    *(("mnasnet1_0", 64, True, 18), ("regnet_y_400mf", 64, False, 17), ("convnext_tiny", 64, True, 18)),
    *(("swin_t", 64, False, 17), ("swin_v2_t", 64, True, 18), ("inception_v3", 96, False, 17)),
)
_TIMM: tuple[tuple[str, int, bool], ...] = (
    *(("resnetv2_50", 64, False), ("resnest14d", 64, True), ("res2net50_26w_4s", 64, False), ("skresnet18", 64, True)),
    *(("ecaresnet26t", 64, True), ("cspresnet50", 64, False), ("dla34", 64, False), ("dpn68", 64, True)),
    *(
        ("hrnet_w18_small", 64, True),
        ("ghostnet_100", 64, False),
        ("hardcorenas_a", 64, True),
        ("lcnet_050", 96, False),
    ),
    *(("mixnet_s", 96, True), ("mobileone_s0", 64, False), ("repvgg_a0", 64, True), ("repvit_m0_9", 64, False)),
    *(("fastvit_t8", 64, True), ("edgenext_xx_small", 64, True), ("efficientformerv2_s0", 224, False)),
    *(("efficientvit_b0", 96, True), ("efficientvit_m0", 224, False), ("mobilevitv2_050", 64, False)),
    *(
        ("levit_128s", 224, True),
        ("botnet26t_256", 256, False),
        ("lambda_resnet26t", 64, True),
        ("gmlp_s16_224", 224, True),
    ),
    *(("mixer_s32_224", 224, False), ("poolformer_s12", 64, False), ("vit_tiny_patch16_224", 224, True)),
    *(("xcit_nano_12_p16_224", 224, False), ("coat_lite_tiny", 224, False), ("convmixer_768_32", 64, False)),
    *(("nf_regnet_b0", 64, True), ("tinynet_e", 106, False), ("vovnet39a", 64, False), ("seresnet18", 64, False)),
)


def architectures() -> Iterator[Architecture]:
    for name, size, dynamo, opset in _TORCHVISION:
        yield Architecture(f"tv_{name}", "torchvision", _torchvision(name), images(size), dynamo, opset)
    yield Architecture("tv_lraspp", "torchvision", _segmentation("lraspp_mobilenet_v3_large"), images(96), True, 18)
    yield Architecture("tv_deeplab", "torchvision", _segmentation("deeplabv3_mobilenet_v3_large"), images(64))
    yield Architecture("tv_r3d", "torchvision", _video("r3d_18"), _clips, True, 18)
    for name, size, dynamo in _TIMM:
        yield Architecture(f"timm_{name}", "timm", _timm(name), images(size), dynamo, 18 if dynamo else 17)


def _torchvision(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import torchvision.models as models

        more: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        module: nn.Module = getattr(models, name)(weights=None, **more)
        if more:
            vars(module)["aux_logits"] = False
        return module

    return make


class _Picked(nn.Module):
    """One entry of a module that answers with a dictionary."""

    def __init__(self, module: nn.Module, key: str) -> None:
        super().__init__()
        self.module, self.key = module, key

    def forward(self, image: Tensor) -> Tensor:
        found: Tensor = self.module(image)[self.key]
        return found


def _segmentation(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import torchvision.models.segmentation as models

        return _Picked(getattr(models, name)(weights=None, weights_backbone=None), "out")

    return make


def _video(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import torchvision.models.video as models

        module: nn.Module = getattr(models, name)(weights=None)
        return module

    return make


def _clips() -> dict[str, Tensor]:
    frames = field_of((SAMPLES, 3, 8 * 32, 32))
    return {"clip": frames.reshape(SAMPLES, 3, 8, 32, 32)}


def _timm(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import timm

        module: nn.Module = timm.create_model(name, pretrained=False, num_classes=100)
        return module

    return make
