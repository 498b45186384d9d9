"""A typed graph that ONNX Runtime hands to TensorRT on a Triton server: what the accelerator is told of it."""

from __future__ import annotations

from deployment.served_engine import ServedEngine

_ENGINE_CACHE = "/tmp/trt_engine_cache"
"""Where ONNX Runtime keeps engines that TensorRT built: its own choice is the server's working folder, which nobody but
root may write to in NVIDIA's image."""
_RTX_COMMENT = (
    "The plan of this target was built by TensorRT-RTX ahead of time. Triton's TensorRT backend loads plans of the",
    "full TensorRT only, so the typed model.onnx is served instead: ONNX Runtime hands it to TensorRT, which builds on",
    "first load on the server. A plan built on the GPU itself (`optimize MODEL.onnx --target native`) is served as is.",
)
_NO_RANGES = (
    "ONNX Runtime parts names from shapes by ':' and ',', which a name of an input here holds: so TensorRT is told no",
    "ranges of shapes, and builds anew when a shape beyond those before comes in.",
)
_PARTING = frozenset(":,")
"""``MakeInputNameShapePair`` and ``ParseProfileShapes`` in ONNX Runtime's TensorRT provider."""


def comment(engine: ServedEngine) -> tuple[str, ...]:
    """Why the graph of ``engine`` is served and not its plan, for the configuration's first lines."""
    return _RTX_COMMENT + (() if _told(engine) else _NO_RANGES)


def parameters(engine: ServedEngine) -> dict[str, str]:
    """Parameters of the TensorRT accelerator, as the README of triton-inference-server/onnxruntime_backend names them.

    The precision mode only permits what the graph's own types ask for.
    """
    mode = {"int8": "INT8", "fp16": "FP16"}.get(engine.manifest.precision, "FP32")
    told = {"precision_mode": mode, "trt_engine_cache_enable": "true", "trt_engine_cache_path": _ENGINE_CACHE}
    for bound in ("min", "opt", "max") if engine.manifest.profile.inputs and _told(engine) else ():
        shapes = (
            f"{name}:{'x'.join(map(str, getattr(shape, bound)))}"
            for name, shape in engine.manifest.profile.inputs.items()
        )
        told[f"trt_profile_{bound}_shapes"] = ",".join(shapes)
    return told


def _told(engine: ServedEngine) -> bool:
    """Whether ONNX Runtime can be told which shapes the inputs have."""
    return not any(_PARTING & set(name) for name in engine.manifest.profile.inputs)
