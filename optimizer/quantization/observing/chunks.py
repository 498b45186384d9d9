"""Work in runs that fit the memory set aside for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def in_chunks(items: Iterable[Item], bytes_of: Callable[[Item], int], limit: int) -> Iterator[list[Item]]:
    """Consecutive ``items`` whose bytes together stay within ``limit``; a single one that is larger comes alone."""
    chunk: list[Item] = []
    size = 0
    for item in items:
        bytes_ = bytes_of(item)
        if chunk and size + bytes_ > limit:
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += bytes_
    if chunk:
        yield chunk
