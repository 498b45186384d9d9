"""An engine of a folder, in a process of its own: whatever its library does, the caller gets an answer or an error."""

from __future__ import annotations

from pathlib import Path

from engines.apart.child_engine import ChildEngine
from engines.feeds.portions import InPortions
from engines.manifest import EngineManifest, check_loadable
from engines.open import runtime_here


def open_apart(folder: Path) -> InPortions:
    """The engine in ``folder`` in a child, fed in portions that its profiles take; close it, or use it as a context.

    Raises ``EngineElsewhere`` for one of another machine, ``BuildError(MISSING_LIBRARY)`` where its library is not
    here, ``EngineError`` where the child could not open it.
    """
    manifest = EngineManifest.load(folder)
    check_loadable(manifest, folder, runtime_here(manifest))
    engine = ChildEngine(str(folder))
    engine.learn(manifest.inputs, manifest.outputs)
    return InPortions(engine, manifest.profiles)
