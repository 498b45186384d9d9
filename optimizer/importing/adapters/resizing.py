"""Resize and what came before it. Up to opset 10 coordinates were asymmetric (x / scale), since 11 they are half_pixel.

Which neighbour ``nearest`` took was not told: what runs such models (ONNX Runtime, upsamplebase.h, ``SIMPLE``) rounds
down along an axis that grows and up along one that shrinks.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from optimizer.importing.adapters.site import CannotConvert, Site


def upsample_by_two_factors(site: Site) -> None:
    """Opset 7: one scale per axis."""
    height, width = site.pop("height_scale"), site.pop("width_scale")
    if height is None or width is None:
        raise CannotConvert("it has no attributes 'height_scale' and 'width_scale'")
    scales = [1.0, 1.0, float(height.value), float(width.value)]
    site.node.attributes["scales"] = ir.AttrFloat32s("scales", scales)
    if site.node.attributes.get_string("mode", "nearest") == "bilinear":
        site.node.attributes["mode"] = ir.AttrString("mode", "linear")


def upsample_by_attribute(site: Site) -> None:
    """Opset 9: scales is an input."""
    scales = site.pop("scales")
    if scales is not None:
        site.set_input(1, site.constant("scales", np.array(scales.as_floats(), np.float32)))


def upsample_is_resize(site: Site) -> None:
    """Opset 10: Upsample went; Resize of opset 10 does the same."""
    site.node.op_type = "Resize"


def resize_asymmetric(site: Site) -> None:
    """Opset 11: coordinates and rounding are told."""
    data, scales = site.data(), site.input(1)
    if scales is None:
        raise CannotConvert("it has no scales")
    mode = site.node.attributes.get_string("mode", "nearest")
    mode = "linear" if mode == "bilinear" else mode
    if mode != "nearest":
        site.become("Resize", [data, None, scales], mode=mode, coordinate_transformation_mode="asymmetric")
        return
    factors = site.constant_input(1)
    grows = np.ones(0) if factors is None else np.asarray(factors)
    if (grows < 1).any() and (grows > 1).any():
        larger = site.constant("larger", np.maximum(grows, 1).astype(np.float32))
        data = site.add("Resize", [data, None, larger], "grown", **_nearest("floor"))
        scales = site.constant("smaller", np.minimum(grows, 1).astype(np.float32))
    site.become("Resize", [data, None, scales], **_nearest("ceil" if (grows < 1).any() else "floor"))


def _nearest(rounding: str) -> dict[str, object]:
    return {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": rounding}


def resize_like_tensorflow(site: Site) -> None:
    """Opset 13: tf_half_pixel_for_nn went: it is half_pixel without the half subtracted, so the floor of the one is the
    other rounded half up."""
    attributes = site.node.attributes
    if attributes.get_string("coordinate_transformation_mode", "half_pixel") != "tf_half_pixel_for_nn":
        return
    rounding = attributes.get_string("nearest_mode", "round_prefer_floor")
    if attributes.get_string("mode", "nearest") != "nearest" or rounding != "floor":
        raise CannotConvert(f"tf_half_pixel_for_nn with nearest_mode {rounding!r} has no equal in newer opsets")
    attributes["coordinate_transformation_mode"] = ir.AttrString("coordinate_transformation_mode", "half_pixel")
    attributes["nearest_mode"] = ir.AttrString("nearest_mode", "round_prefer_ceil")
