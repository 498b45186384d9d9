"""A script that builds a plan with ``trtexec``, for a library that this program does not run itself.

Options: NVIDIA/TensorRT, ``samples/trtexec/README.md`` and ``trtexec --help`` of 8.5.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from engines.profile import Shape, ShapeProfile

_WIDE = "fp32"
_LONGEST = 100_000
"""Characters of one argument; Linux ends them at 131,072 (``MAX_ARG_STRLEN``)."""
_SEPARATORS = frozenset(",:")
"""What ``--layerPrecisions`` parts layers by: a node whose name holds one cannot be told."""


def build_script(model: str, plan: str, types: Mapping[str, str], profile: ShapeProfile) -> str:
    """A shell script that builds ``plan`` from ``model`` beside it; arguments it is given go to trtexec as well.

    ``types`` say what nodes compute in ("fp32", "fp16", "int8"); those in FP32 are held there, the others are left to
    the builder.
    """
    lines = [f"--onnx={model}", f"--saveEngine={plan}"]
    lines += [f"--{name}" for name in ("fp16", "int8") if name in types.values()]
    held = [name for name, kind in types.items() if kind == _WIDE]
    told = [name for name in held if not _SEPARATORS & set(name)]
    if "fp16" in types.values() and told:
        lines.append("--precisionConstraints=obey")
        lines += [f"--layerPrecisions={names}" for names in _joined(f"{name}:{_WIDE}" for name in told)]
        lines += [f"--layerOutputTypes={names}" for names in _joined(f"{name}:{_WIDE}" for name in told)]
    for which in ("min", "opt", "max"):
        shapes = {name: getattr(ranges, which) for name, ranges in profile.inputs.items()}
        if shapes:
            lines.append(f"--{which}Shapes=" + ",".join(_shape(name, shape) for name, shape in shapes.items()))
    command = " \\\n    ".join(shlex.quote(line) for line in lines)
    untold = len(held) - len(told)
    note = f"# {untold} nodes that should stay FP32 cannot be told: their names hold ',' or ':'.\n" if untold else ""
    return (
        "#!/bin/sh\n"
        "# Builds the engine with the trtexec of TensorRT 8.5 or 8.6, on the GPU that is to run it.\n"
        f'{note}cd "$(dirname "$0")" || exit 1\n'
        f'exec trtexec {command} "$@"\n'
    )


def _shape(name: str, shape: Shape) -> str:
    """An input's name is put in quotes where it holds what parts names from shapes."""
    return f"{_quoted(name) if _SEPARATORS & set(name) else name}:{'x'.join(map(str, shape))}"


def _quoted(name: str) -> str:
    return f"'{name}'"


def _joined(parts: Iterable[str]) -> list[str]:
    """The parts by commas, in as many lists as it takes."""
    lists = [""]
    for part in parts:
        if len(lists[-1]) + len(part) > _LONGEST:
            lists.append("")
        lists[-1] += f",{part}" if lists[-1] else part
    return lists
