"""An engine that does nothing, to measure what surrounds an engine."""

from __future__ import annotations

from engines.engine import Array, ClosedOnExit, Feed, TensorSpec


class NullEngine(ClosedOnExit):
    """Takes x [batch, 1] float32 and returns no output."""

    inputs = (TensorSpec("x", "float32", ("batch", 1)),)
    outputs: tuple[TensorSpec, ...] = ()

    def infer(self, feed: Feed) -> dict[str, Array]:
        return {}

    def close(self) -> None:
        """Nothing to free."""
