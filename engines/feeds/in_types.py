"""An engine fed in the float types of another, whose inputs have the same names."""

from __future__ import annotations

from collections.abc import Sequence

from engines.engine import Array, EngineBase, Feed, TensorSpec
from graphs.errors import BadInput


class InTypesOf(EngineBase):
    """``engine``, which takes floats as ``asked``, the other's inputs, in place of its own. Its outputs keep theirs;
    closing it closes ``engine``. Raises ``BadInput`` where an input is a float here and none there.
    """

    def __init__(self, engine: EngineBase, asked: Sequence[TensorSpec], where: str) -> None:
        own = {spec.name: spec for spec in engine.inputs}
        for spec in asked:
            if spec.dtype != own[spec.name].dtype and not ("float" in spec.dtype and "float" in own[spec.name].dtype):
                kinds = f"input {spec.name!r} is {own[spec.name].dtype}, and {spec.dtype} of the first"
                raise BadInput(f"the two take different inputs: {kinds}", where=where)
        self._engine, self._inputs, self._outputs = engine, tuple(asked), engine.outputs
        self._own = own

    def infer(self, feed: Feed) -> dict[str, Array]:
        """See ``Engine.infer``."""
        return self._engine.infer(self.typed(feed))

    def typed(self, feed: Feed) -> Feed:
        """``feed`` in the engine's own types."""
        return {
            name: array.astype(self._own[name].numpy_dtype(), copy=False) if name in self._own else array
            for name, array in feed.items()
        }

    def close(self) -> None:
        self._engine.close()
