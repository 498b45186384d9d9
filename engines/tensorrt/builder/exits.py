"""Why a builder child ended without a result: out of memory or a crash, and at which ONNX node.

The child writes every message of the library to a plain file as it comes. After a crash its tail tells which node the
parser or the builder was at.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engines.errors import BuildError, BuildFailure
from engines.processes.child_process import how_it_ended
from engines.tensorrt.builder.node_layers import ends_of

RAW_LOG_NAME = "build.log"
PARSING = "parsing"
"""The stage in which the ONNX parser is at work."""
INSPECTING = "looking into the engine"
"""The stage in which the plan is there already, and is asked what it is made of."""
_TAIL_BYTES = 64 << 10  # of the log after a crash, in which the last node is named
"""How much of the end of a log is read. Chosen."""
_LOG_LINES = 20  # of those, kept with the error
"""And how many lines of it go into an error. Chosen."""
_OUT_OF_MEMORY = re.compile(r"bad_alloc|MemoryError|[Oo]ut of memory|[Cc]annot allocate memory")
_NODE = re.compile(
    r"Parsing node: (?P<parsed>.+?) \[\w"  # the ONNX parser, TensorRT 10
    r"|^\[VERBOSE\] (?P<read>\S.*?) \[\w+\] inputs:"  # the ONNX parser, TensorRT 11 and RTX
    r"|(?:Computing costs for|Tactic search for|Autotuning op) (?P<timed>\{.+?\}|\S+)",  # full TensorRT's builder
    re.MULTILINE,
)


@dataclass(frozen=True)
class Ending:
    """How a child ended: ``code`` as ``subprocess`` gives it, the stage it was in, what it wrote to standard error,
    whether the kernel ended a process for lack of memory meanwhile, and the tail of its log."""

    code: int
    stage: str
    errors: str
    kernel_killed: bool
    log: str


def read_tail(folder: Path) -> str:
    """The end of the child's log, whole lines; empty where it wrote none."""
    path = folder / RAW_LOG_NAME
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace")


def ending_error(ending: Ending) -> BuildError:
    """The error for a child that left no result."""
    how = how_it_ended(ending.code)
    node = last_node(ending.log, ending.stage)
    log = "\n".join(filter(None, [ending.errors, *_last_lines(ending.log)]))
    if _starved(ending):
        return BuildError(
            BuildFailure.OUT_OF_MEMORY,
            f"memory ran out while {ending.stage}: the builder {how}",
            where=node,
            fix="free memory, build fewer targets at a time (--jobs 1), or give smaller maximum shapes (--shape)",
            log=log,
        )
    return BuildError(
        BuildFailure.CRASH,
        f"the builder {how} while {ending.stage}",
        where=node,
        fix="report the model with the log; other targets are not affected",
        log=log,
    )


def _starved(ending: Ending) -> bool:
    if ending.code == -signal.SIGKILL:
        return ending.kernel_killed
    return ending.code != 0 and bool(_OUT_OF_MEMORY.search(ending.errors))


def last_node(log: str, stage: str) -> str:
    """The ONNX node (or nodes) that the log last says work had begun on; empty where it says none.

    What the parser read last is to blame while parsing only, not in the stages after it.
    """
    found = ""
    for match in _NODE.finditer(log):
        if match["timed"] or stage == PARSING:
            found = next(name for name in match.groups() if name)
    return " to ".join(ends_of(found))


def _last_lines(log: str) -> Iterable[str]:
    return [line[:400] for line in log.splitlines()[-_LOG_LINES:]]
