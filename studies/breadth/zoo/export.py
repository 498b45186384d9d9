"""From an architecture to NAME.onnx and its data: weights made sane, alike blocks cut to two, exported by torch."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from studies.breadth.zoo.architecture import Architecture

CALIBRATION = 8  # samples
_TRACED = 2  # samples the exporter sees


def export(made: Architecture, folder: Path) -> str:
    """Write ``NAME.onnx``, ``NAME.npz``, ``NAME.held.npz`` and ``NAME.json``; returns an error's first line."""
    torch.manual_seed(0)
    module, inputs = made.make().eval(), made.inputs()
    if made.settle:
        module = settled(shortened(module, inputs), inputs)
    path, errors = folder / f"{made.name}.onnx", []
    for dynamo in (made.dynamo, not made.dynamo):
        try:
            with torch.no_grad():
                _written(module, inputs, made, path, dynamo)
            _run(path, inputs)
        except Exception as error:  # exporters raise anything; the other one may do it
            errors.append(f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error) else ''}")
            continue
        _save_data(inputs, folder, made.name)
        about = {"kind": made.kind, "exporter": "dynamo" if dynamo else "torchscript", "opset": made.opset}
        (folder / f"{made.name}.json").write_text(json.dumps(about))
        return ""
    return "; ".join(errors)


def _written(module: nn.Module, inputs: dict[str, Tensor], made: Architecture, path: Path, dynamo: bool) -> None:
    seen = tuple(value[:_TRACED] for value in inputs.values())
    axes = {name: {0: "batch", **made.varying.get(name, {})} if made.batched else {} for name in inputs}
    if not dynamo:
        opset = min(made.opset, 18)
        names = list(inputs)
        torch.onnx.export(module, seen, path, input_names=names, opset_version=opset, dynamic_axes=axes, dynamo=False)
        return
    free = torch.export.Dim.DYNAMIC
    shapes = tuple(dict.fromkeys(axes[name], free) for name in inputs)
    torch.onnx.export(
        *(module, seen, path),
        input_names=list(inputs),
        opset_version=max(made.opset, 18),
        dynamic_shapes=shapes,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _run(path: Path, inputs: dict[str, Tensor]) -> None:
    """An exporter may write what nobody runs: raises where ONNX Runtime does not."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    wanted = [value.name for value in session.get_inputs()]
    session.run(None, {name: inputs[name].numpy() for name in wanted})


def _save_data(inputs: dict[str, Tensor], folder: Path, name: str) -> None:
    arrays = {key: value.numpy() for key, value in inputs.items()}
    np.savez(folder / f"{name}.npz", **{key: array[:CALIBRATION] for key, array in arrays.items()})
    np.savez(folder / f"{name}.held.npz", **{key: array[CALIBRATION:] for key, array in arrays.items()})


def shortened(module: nn.Module, inputs: dict[str, Tensor], keep: int = 2) -> nn.Module:
    """The module with at most ``keep`` of each run of alike blocks: an architecture's operations, not its depth."""
    try:
        short = copy.deepcopy(module)
    except RuntimeError:  # weights that are computed from others cannot be copied
        return module
    cut = 0
    for part in short.modules():
        if isinstance(part, (nn.Sequential, nn.ModuleList)) and len(part) > keep and _alike(list(part)[1:]):
            for index in range(len(part) - 1, keep - 1, -1):
                del part[index]
                cut += 1
    if not cut:
        return module
    try:
        with torch.no_grad():
            short(*(value[:_TRACED] for value in inputs.values()))
    except Exception:  # blocks that are alike but counted on elsewhere: it stays as it is
        return module
    return short


def _alike(parts: Iterable[nn.Module]) -> bool:
    shapes = {(type(part), tuple(tuple(p.shape) for p in part.parameters())) for part in parts}
    return len(shapes) == 1 and bool(next(iter(shapes))[1])


def settled(module: nn.Module, inputs: dict[str, Tensor]) -> nn.Module:
    """Weights as training would leave them: none all zero, no vanishing layer scale, batch norms that fit the data."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if not weight.is_floating_point() or weight.numel() < 2:
                continue
            if not weight.any():
                weight.normal_(0, 0.02, generator=generator) if weight.ndim > 1 or "bias" in name else weight.uniform_(
                    0.3, 1, generator=generator
                )
            elif weight.std() == 0 and float(weight.abs().max()) <= 0.01:
                weight.uniform_(0.2, 0.8, generator=generator)
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    if norms:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain average
            norm.train()
        with torch.no_grad():
            module(*inputs.values())
    return module.eval()
