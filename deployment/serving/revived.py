"""An engine in a process of its own that is opened anew after it crashed: a crash costs the requests in it, not the
server."""

from __future__ import annotations

from pathlib import Path

from engines.apart.child_engine import ChildEngine
from engines.engine import Array, EngineBase, Feed
from engines.errors import EngineError
from engines.manifest import EngineManifest, check_digest


class RevivedEngine(EngineBase):
    """The engine in ``directory``. ``infer`` raises ``EngineError`` with the child's last words where it crashed, and
    opens another one for the next call, unless another bundle lies there by then. The threads that call it must outlive
    it: the kernel ends a child with the thread that started it (``engines.processes.lifetime``).
    """

    def __init__(self, directory: Path, manifest: EngineManifest) -> None:
        self._directory, self._manifest = directory, manifest
        self._engine = ChildEngine(str(directory))
        self._inputs, self._outputs = self._engine.inputs, self._engine.outputs
        self.learn(manifest.inputs, manifest.outputs)

    def infer(self, feed: Feed) -> dict[str, Array]:
        if not self._engine.alive:
            self._engine.close()
            self._engine = self._opened_anew()
        return self._engine.infer(feed)

    def _opened_anew(self) -> ChildEngine:
        """Raises ``EngineError`` where another bundle has taken the place: it has a version of its own."""
        engine = ChildEngine(str(self._directory))
        try:
            check_digest(self._manifest, self._directory)
        except EngineError as error:
            engine.close()
            what = "the engine crashed, and another bundle has taken its place"
            raise EngineError(what, where=str(self._directory), fix="load the model anew, or send SIGHUP") from error
        return engine

    def kill(self) -> None:
        """End the process at once; the call in it, from another thread, raises ``EngineError``."""
        self._engine.kill()

    def close(self) -> None:
        self._engine.close()
