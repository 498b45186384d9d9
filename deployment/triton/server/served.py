"""A model that a Triton serves, as an engine with the tensors of the engine behind it."""

from __future__ import annotations

from collections.abc import Sequence

from engines.engine import Array, Engine, EngineBase, Feed, TensorSpec
from engines.feeds.portions import InPortions
from engines.kserve import KserveEngine, Protocol
from engines.profile import ShapeProfile, ShapeRange


def served_engine(address: str, model: str, engine: Engine, largest: int, protocol: Protocol = "grpc") -> EngineBase:
    """``model`` at ``HOST:PORT`` as an engine that knows what ``engine`` knows of its tensors, and is fed at most
    ``largest`` samples at once (0: it does not batch). Raises ``BadInput`` where it cannot be reached."""
    served = as_engine(KserveEngine(address, model, protocol=protocol, text=True), engine)
    if not largest:
        return served
    return InPortions(served, [ShapeProfile({spec.name: ShapeRange((1,), (1,), (largest,)) for spec in engine.inputs})])


def as_engine(remote: KserveEngine, engine: Engine) -> EngineBase:
    """``remote`` with the tensors of ``engine``."""
    return _Squeezed(remote, engine)


class _Squeezed(EngineBase):
    """Triton's configuration has no tensor without dimensions besides the batch: one of shape ``[n]`` is asked for, and
    answered, as ``[n, 1]``."""

    def __init__(self, remote: KserveEngine, engine: Engine) -> None:
        self._remote, self._inputs, self._outputs = remote, engine.inputs, engine.outputs
        self._longer = {*_longer(engine.inputs, remote.inputs), *_longer(engine.outputs, remote.outputs)}

    def infer(self, feed: Feed) -> dict[str, Array]:
        """See ``Engine.infer``."""
        if not self._longer:
            return self._remote.infer(feed)
        asked = {name: array[..., None] if name in self._longer else array for name, array in feed.items()}
        return {n: array[..., 0] if n in self._longer else array for n, array in self._remote.infer(asked).items()}

    def close(self) -> None:
        self._remote.close()


def _longer(own: Sequence[TensorSpec], remote: Sequence[TensorSpec]) -> set[str]:
    """Names of tensors that have one axis more, of length 1, at the end there."""
    ranks = {spec.name: len(spec.shape) for spec in own}
    return {s.name for s in remote if len(s.shape) == ranks.get(s.name, 0) + 1 and s.shape[-1] == 1}
