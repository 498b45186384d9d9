"""What answers for a model: the file as given, or, where ONNX Runtime does not run that, the graph as imported.

Types that ONNX Runtime has no kernels for (bfloat16) and files that it does not open (two nodes of one name) come so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from engines.engine import Feed
from engines.errors import EngineError
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.storage.saving import save_model
from optimizer.equivalence import Answers
from optimizer.importing import ImportedModel, import_model


@dataclass(frozen=True)
class Reference:
    """What the model answers to the feeds, by the graph in ``path``. ``refusal`` says why that is not the file as
    given, empty where it is. ``widened``: the imported graph, float32 throughout, for ONNX Runtime runs no other;
    there is nothing that this graph could be compared with.
    """

    answers: Answers
    path: Path
    refusal: str = ""
    widened: bool = False


@dataclass(frozen=True)
class OpenedReference:
    """``refusal`` says why ``engine`` is not of the file as given, empty where it is."""

    engine: OnnxRuntimeEngine
    refusal: str


def reference_of(imported: ImportedModel, feeds: Sequence[Feed], folder: Path) -> Reference:
    """The first graph that runs ``feeds``; one that is not the file is left in ``folder``. Raises the ``EngineError``
    of the file as given where none does.
    """
    refusal: EngineError | None = None
    for path, widened in _graphs(imported, folder):
        try:
            answers = Answers.of(path, feeds, fuse_qdq=False)
        except EngineError as error:
            refusal = refusal or error
            continue
        return Reference(answers, path, refusal.what if refusal is not None else "", widened)
    assert refusal is not None
    raise refusal


@contextmanager
def opened_reference(imported: ImportedModel, *, float_products: bool = False) -> Iterator[OpenedReference]:
    """An engine of the first graph that ONNX Runtime opens. Raises as ``reference_of`` does."""
    refusal: EngineError | None = None
    with TemporaryDirectory(prefix="enginewright-reference-") as folder:
        for path, _ in _graphs(imported, Path(folder)):
            try:
                engine = OnnxRuntimeEngine(path, float_products=float_products)
            except EngineError as error:
                refusal = refusal or error
                continue
            with engine:
                yield OpenedReference(engine, refusal.what if refusal is not None else "")
            return
        assert refusal is not None
        raise refusal


def _graphs(imported: ImportedModel, folder: Path) -> Iterator[tuple[Path, bool]]:
    """The file as given; what was imported in the file's own float types; that in float32 (True)."""
    yield imported.path, False
    path = folder / "imported.onnx"
    for widened in (False, True):
        save_model(imported.model if widened else import_model(imported.path, widen=False).model, path)
        yield path, widened
