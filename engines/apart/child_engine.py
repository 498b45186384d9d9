"""An engine in a process of its own, behind the ``Engine`` protocol: its crash is an ``EngineError`` here.

Parent and child (``engines.apart.child_engine_server``) send messages through the child's standard streams: the length
of a header (4 bytes), the header as JSON, then the bytes of the arrays it names. What that costs is no part of a
timing: timings are taken in the child (``benchmarks.timing.child``).
"""

from __future__ import annotations

import math
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import msgspec
import numpy as np

from engines.engine import Array, EngineBase, Feed, TensorSpec, numpy_dtype
from engines.errors import EngineError
from engines.processes.child_process import Child, how_it_ended, last_line

OPENING_S = 300.0
"""Seconds that opening an engine may take: a plan of gigabytes is read, kernels of TensorRT-RTX are compiled."""
ANSWER_S = 120.0
"""Seconds that one inference may take; longer counts as hung. LoadGen's children are given 20 per sample. Chosen."""
_LENGTH = struct.Struct("<I")
_SERVER = "engines.apart.child_engine_server"


@dataclass(frozen=True)
class ArrayHead:
    """What an array's bytes do not tell; ``dtype`` is numpy's name."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Message:
    """One message. The child's first has ``inputs`` and ``outputs``; ``failed`` (what, where, expected, fix) is set
    where it could not do what it was asked.
    """

    arrays: tuple[ArrayHead, ...] = ()
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    failed: tuple[str, str, str, str] | None = None


class ChildEngine(EngineBase):
    """The engine that ``engines.source.open_source`` makes of ``source``, in a child.

    Raises ``EngineError`` where the child could not open it, crashed, or did not answer in time: one sentence, with the
    child's last words.
    """

    def __init__(self, source: str) -> None:
        self.source, self._lock = source, threading.Lock()
        self._errors = tempfile.NamedTemporaryFile(prefix="enginewright-engine-")  # noqa: SIM115  # closed with us
        self._child = Child(_SERVER, source, stdin=subprocess.PIPE, stderr=self._errors)
        try:
            first, _ = self._answer(OPENING_S, "while it was opened")
        except BaseException:
            self.close()
            raise
        self._inputs, self._outputs = first.inputs, first.outputs

    @property
    def alive(self) -> bool:
        """Whether the child still runs."""
        return self._child.process.poll() is None

    def infer(self, feed: Feed) -> dict[str, Array]:
        """See ``Engine.infer``. Calls from several threads take turns."""
        with self._lock:
            stream = self._child.process.stdin
            assert stream is not None
            if stream.closed:
                raise EngineError("the engine is closed", where=self.source)
            with suppress(OSError):  # it died: the answer says how
                send(stream, Message(), feed)
            return self._answer(ANSWER_S, "in an inference")[1]

    def kill(self) -> None:
        """End the child at once: a call of another thread in it raises ``EngineError``."""
        self._child.kill()

    def close(self) -> None:
        self._child.__exit__(None, None, None)
        self._errors.close()

    def _answer(self, patience: float, when: str) -> tuple[Message, dict[str, Array]]:
        stream = self._child.process.stdout
        assert stream is not None
        started, timer = time.monotonic(), threading.Timer(patience, self._child.process.kill)
        timer.start()
        try:
            found = receive(stream)
        finally:
            timer.cancel()
        if found is None:
            late = time.monotonic() - started >= patience
            raise EngineError(self._end(late, patience, when), where=self.source)
        if found[0].failed is not None:
            what, where, expected, fix = found[0].failed
            raise EngineError(what, where=where, expected=expected, fix=fix)
        return found

    def _end(self, late: bool, patience: float, when: str) -> str:
        code = self._child.process.wait()
        if late:
            return f"the engine hung: no answer for {patience:g} s {when}"
        words = last_line(Path(self._errors.name).read_text(errors="replace"))
        return f"the engine's process {how_it_ended(code)} {when}{f' ({words[:300]})' if words else ''}"


def send(stream: IO[bytes], message: Message, arrays: Mapping[str, Array]) -> None:
    """Write a message with ``arrays``. Raises ``OSError`` where nobody reads."""
    values = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    heads = tuple(ArrayHead(name, value.dtype.name, arrays[name].shape) for name, value in values.items())
    header = msgspec.json.encode(replace(message, arrays=heads))
    stream.write(_LENGTH.pack(len(header)) + header)
    for value in values.values():
        stream.write(value.reshape(-1).view(np.uint8).data)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[Message, dict[str, Array]] | None:
    """The next message and its arrays; None where the other side is gone."""
    length = _read(stream, _LENGTH.size)
    header = _read(stream, _LENGTH.unpack(length)[0]) if length is not None else None
    if header is None:
        return None
    message, arrays = msgspec.json.decode(header, type=Message), dict[str, Array]()
    for head in message.arrays:
        dtype = numpy_dtype(head.dtype)
        content = _read(stream, math.prod(head.shape) * dtype.itemsize)
        if content is None:
            return None
        arrays[head.name] = np.frombuffer(content, np.uint8).view(dtype).reshape(head.shape)
    return message, arrays


def _read(stream: IO[bytes], size: int) -> bytearray | None:
    """Exactly ``size`` bytes, in memory that may be written to; None where the stream ends before."""
    content = bytearray(size)
    view, done = memoryview(content), 0
    while done < size:
        count = stream.readinto(view[done:])  # type: ignore[attr-defined]  # pipes of subprocess are buffered readers
        if not count:
            return None
        done += count
    return content
