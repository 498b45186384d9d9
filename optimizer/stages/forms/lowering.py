"""What a build is asked for, in the form that its library reads right: for TensorRT 8 the graph is lowered, for 10.0 to
10.8 a few operators are written otherwise; both are verified.

Every other library takes the typed graph as it is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import onnx_ir as ir

from calibration.source import SampleSource
from engines.build_request import BuildRequest
from engines.engine import Feed
from engines.errors import EngineError
from engines.targets.gpus_here import native_target
from engines.tensorrt.capabilities import Capabilities
from engines.tensorrt.library import choose_library, load_library
from graphs.errors import in_a_line
from graphs.storage.saving import save_model
from optimizer.bundle import MODEL
from optimizer.equivalence import compare_graphs
from optimizer.events import Events
from optimizer.tensorrt8.lowering import lower_for_tensorrt8
from optimizer.tensorrt8.meaning import STAGE, check_meaning, not_the_same
from optimizer.tensorrt10 import for_older_parsers

_SAMPLES = 2
"""Samples that the lowered graph is run on: its nodes are a few kinds, each rewritten in one way. Chosen."""


@contextmanager
def readable(request: BuildRequest, held_back: SampleSource, events: Events) -> Iterator[BuildRequest]:
    """``request`` for a library whose parser reads the graph as it is; else with the graph written as it does, and for
    TensorRT 8, which takes no types from it, the nodes' types.

    What is written otherwise is run beside the typed graph on samples of ``held_back``. Raises ``BuildError`` naming
    the node that would be refused or misread, or where the two graphs differ in more than rounding.
    """
    capabilities = _capabilities(request)
    if capabilities is None or (capabilities.strongly_typed and capabilities.opset_21):
        yield request
        return
    typed, feeds = ir.load(request.model), list(islice(held_back.samples(), _SAMPLES))
    types = dict[str, str]()
    if capabilities.strongly_typed:
        model, notes = for_older_parsers(typed)
        if not notes:
            yield request
            return
        _check_same(typed, model, feeds)
    else:
        lowered = lower_for_tensorrt8(typed)
        check_meaning(typed, lowered, feeds)
        model, notes = lowered.model, list(lowered.notes)
        types = {name: dtype.value for name, dtype in lowered.precisions.items()}
    for note in notes:
        events.note(STAGE, f"{request.target.name}: {note}")
    with tempfile.TemporaryDirectory(prefix="enginewright-lowered-") as folder:
        path = Path(folder) / MODEL
        save_model(model, path)
        yield replace(request, model=path, node_types=types)


def _capabilities(request: BuildRequest) -> Capabilities | None:
    name = request.library or choose_library(request.target, native_target()).name
    return load_library(name).capabilities if name is not None else None


def _check_same(typed: ir.Model, model: ir.Model, feeds: Sequence[Feed]) -> None:
    try:
        found = compare_graphs(typed, model, feeds, fuse_qdq=False)
    except EngineError as error:
        raise not_the_same(f"the typed graph does not run: {in_a_line(error)}", "10.0 to 10.8") from error
    if not found.near:
        raise not_the_same(found.why, "10.0 to 10.8")
