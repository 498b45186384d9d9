"""An engine in a process of its own that is opened anew after it crashed: a crash costs the requests in it, not the
server."""

from __future__ import annotations

from pathlib import Path

from engines.apart.child_engine import ChildEngine
from engines.engine import Array, EngineBase, Feed
from engines.manifest import EngineManifest


class RevivedEngine(EngineBase):
    """The engine in ``directory``. ``infer`` raises ``EngineError`` with the child's last words where it crashed, and
    opens another one for the next call. The threads that call it must outlive it: the kernel ends a child with the
    thread that started it (``engines.processes.lifetime``).
    """

    def __init__(self, directory: Path, manifest: EngineManifest) -> None:
        self._source, self._manifest = str(directory), manifest
        self._engine = ChildEngine(self._source)
        self._inputs, self._outputs = self._engine.inputs, self._engine.outputs
        self.learn(manifest.inputs, manifest.outputs)

    def infer(self, feed: Feed) -> dict[str, Array]:
        if not self._engine.alive:
            self._engine.close()
            self._engine = ChildEngine(self._source)
        return self._engine.infer(feed)

    def kill(self) -> None:
        """End the process at once; the call in it, from another thread, raises ``EngineError``."""
        self._engine.kill()

    def close(self) -> None:
        self._engine.close()
