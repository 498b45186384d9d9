"""What a build is asked for, in the form that its library reads right: for TensorRT 8 the graph is lowered, and proved.

Every other library takes the typed graph as it is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import onnx_ir as ir

from calibration.source import SampleSource
from engines.build_request import BuildRequest
from engines.targets.gpus_here import native_target
from engines.tensorrt.library import choose_library, load_library
from graphs.saving import save_model
from optimizer.bundle import MODEL
from optimizer.events import Events
from optimizer.tensorrt8.lowering import lower_for_tensorrt8
from optimizer.tensorrt8.meaning import STAGE, prove

_SAMPLES = 2
"""Samples that the lowered graph is run on: its nodes are a few kinds, each rewritten in one way. Chosen."""


@contextmanager
def readable(request: BuildRequest, held_back: SampleSource, events: Events) -> Iterator[BuildRequest]:
    """``request`` for a library that takes types from the graph; else with the lowered graph and the nodes' types.

    The lowered graph is run beside the typed one on samples of ``held_back``. Raises ``BuildError`` naming the node
    that TensorRT 8 would refuse or misread, or where the two graphs differ in more than rounding.
    """
    if not _is_weakly_typed(request):
        yield request
        return
    typed = ir.load(request.model)
    lowered = lower_for_tensorrt8(typed)
    prove(typed, lowered, list(islice(held_back.samples(), _SAMPLES)))
    for note in lowered.notes:
        events.note(STAGE, f"{request.target.name}: {note}")
    with tempfile.TemporaryDirectory(prefix="enginewright-tensorrt8-") as folder:
        path = Path(folder) / MODEL
        save_model(lowered.model, path)
        yield replace(request, model=path, node_types={name: d.value for name, d in lowered.precisions.items()})


def _is_weakly_typed(request: BuildRequest) -> bool:
    name = request.library or choose_library(request.target, native_target()).name
    return name is not None and not load_library(name).capabilities.strongly_typed
