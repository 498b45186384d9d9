"""The builder child: ``engines.tensorrt.builder.child REQUEST.json``.

Reads a ``PlanRequest``, writes the plan, ``build.log.gz`` next to it and a ``PlanOutcome`` as ``result.json`` next to
the request; ``build.log`` grows while it builds, for whoever asks after a crash. Standard output carries one
``StepDone`` a line and nothing else. A crash of the builder is its own end alone: that is why it is a process of its
own.
"""

from __future__ import annotations

import gzip
import os
import resource
import sys
from pathlib import Path
from typing import IO

import msgspec

from engines.errors import BuildError, BuildFailure
from engines.tensorrt.builder.build_plan import build_plan
from engines.tensorrt.builder.exits import RAW_LOG_NAME
from engines.tensorrt.builder.messages import BuildMessages
from engines.tensorrt.builder.request import PlanBuilt, PlanFailed, PlanOutcome, PlanRequest, StepDone
from graphs.errors import EnginewrightError
from graphs.files import at_fault, read_json, unwritable, write_atomically, write_json

LOG_NAME = "build.log.gz"
RESULT_NAME = "result.json"


def main(arguments: list[str]) -> int:
    """Build what the request file asks for; 0 when a result was written, a failed build included."""
    request_file = Path(arguments[0])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crashing builder must not fill the disk
    result_file = request_file.with_name(RESULT_NAME)
    with _progress_stream() as stream:
        outcome = _build(read_json(request_file, PlanRequest), stream, result_file)
    write_json(result_file, outcome)
    return 0


def _build(request: PlanRequest, stream: IO[bytes], result_file: Path) -> PlanOutcome:
    def on_step(step: StepDone) -> None:
        stream.write(msgspec.json.encode(step) + b"\n")
        stream.flush()

    try:
        with Path(request.plan).with_name(RAW_LOG_NAME).open("wb", buffering=0) as raw:
            messages = BuildMessages(sink=lambda level, text: _append(raw, level, text))

            def keep(built: PlanBuilt) -> None:
                """What is there stays, whatever comes of looking into the engine."""
                _write_log(Path(request.plan).with_name(LOG_NAME), messages)
                write_json(result_file, PlanOutcome(built=built))

            built = build_plan(request, on_step, messages, keep)
        _write_log(Path(request.plan).with_name(LOG_NAME), messages)
    except EnginewrightError as error:
        return PlanOutcome(failed=PlanFailed.of(error))
    except MemoryError:
        return PlanOutcome(
            failed=PlanFailed.of(BuildError(BuildFailure.OUT_OF_MEMORY, "the builder ran out of memory"))
        )
    except OSError as error:
        return PlanOutcome(failed=PlanFailed.of(unwritable(at_fault(error, Path(request.plan)), error)))
    return PlanOutcome(built=built)


def _append(log: IO[bytes], level: str, text: str) -> None:
    log.write(f"[{level}] {text}\n".encode())


def _write_log(path: Path, messages: BuildMessages) -> None:
    text = "\n".join(f"[{level}] {message}" for level, message in messages.all)
    write_atomically(path, gzip.compress(text.encode(), compresslevel=6, mtime=0))


def _progress_stream() -> IO[bytes]:
    """Keep standard output to ourselves: what native code prints there goes to standard error instead."""
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return stream


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
