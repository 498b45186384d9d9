"""Every operator that has to be written otherwise for TensorRT 8, with its rules in the order they apply."""

from __future__ import annotations

from graphs.tensorrt.tensorrt8.operators import REDUCTIONS
from optimizer.tensorrt8.rewriting import Rule
from optimizer.tensorrt8.rules import activations, equations, moved, normalizing, products, shaping

RULES: dict[str, tuple[Rule, ...]] = {
    "LayerNormalization": (normalizing.layer_norm,),
    "GroupNormalization": (normalizing.group_norm,),
    "InstanceNormalization": (normalizing.instance_norm,),
    "Gelu": (activations.gelu,),
    "Mish": (activations.mish,),
    "IsInf": (activations.is_inf,),
    "CastLike": (activations.cast_like,),
    "Hardmax": (activations.hardmax,),
    "Selu": (activations.selu_digits,),
    "Pow": (activations.float_exponent,),
    "Sign": (activations.sign_of_integers,),
    "Relu": (activations.relu_of_integers,),
    "ArgMax": (activations.place_among_integers,),
    "ArgMin": (activations.place_among_integers,),
    "GridSample": (moved.grid_sample_modes,),
    "Shape": (moved.shape_part,),
    "ScatterElements": (moved.no_reduction,),
    "ScatterND": (moved.no_reduction,),
    "Constant": (moved.constant_as_tensor,),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (moved.hidden_size,)),
    "Scan": (moved.scan_axes_from_the_front,),
    "Pad": (shaping.pad_all_axes,),
    "Einsum": (equations.letters_for_the_ellipsis,),
    "Split": (shaping.split_sizes,),
    "Resize": (shaping.resize_all_axes,),
    "Squeeze": (shaping.squeeze_axes,),
    "Trilu": (shaping.triangle_in_three_axes,),
    "Conv": (products.kernel_shape, products.computed_bias),
    "ConvTranspose": (products.kernel_shape, products.computed_bias),
    **dict.fromkeys(REDUCTIONS, (moved.axes_to_attribute,)),
    "ReduceMax": (activations.bool_extreme, moved.axes_to_attribute),
    "ReduceMin": (activations.bool_extreme, moved.axes_to_attribute),
}
