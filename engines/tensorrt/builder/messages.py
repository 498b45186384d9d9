"""What TensorRT says during one build."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class BuildMessages:
    """Everything TensorRT said during one build, in order; ``sink`` gets each message as it comes."""

    all: list[tuple[str, str]] = field(default_factory=list)
    sink: Callable[[str, str], None] = lambda level, message: None

    def receive(self, level: str, message: str) -> None:
        self.all.append((level, message))
        self.sink(level, message)

    def of(self, *levels: str) -> list[str]:
        return [message for level, message in self.all if level in levels]

    def texts(self) -> list[str]:
        return [message for _, message in self.all]
