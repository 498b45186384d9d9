"""The child behind ``ChildEngine``: ``engines.apart.child_engine_server SOURCE`` opens an engine and answers feeds."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import IO

from engines.apart.child_engine import Message, receive, send
from engines.engine import Engine, Feed
from engines.source import open_source
from graphs.errors import EnginewrightError, in_a_line


def serve(source: str, questions: IO[bytes], answers: IO[bytes]) -> None:
    """Open ``source``, say what it takes and gives, and run every feed that comes, until none does."""
    try:
        engine = open_source(source)
    except Exception as error:  # whatever a library raises, the parent hears it in one sentence
        send(answers, _failure(error), {})
        return
    with engine:
        send(answers, Message(inputs=engine.inputs, outputs=engine.outputs), {})
        while (question := receive(questions)) is not None:
            _answer(engine, question[1], answers)


def _answer(engine: Engine, feed: Feed, answers: IO[bytes]) -> None:
    try:
        outputs = engine.infer(feed)
    except Exception as error:
        send(answers, _failure(error), {})
        return
    send(answers, Message(), outputs)


def _failure(error: Exception) -> Message:
    if isinstance(error, EnginewrightError):
        return Message(failed=(error.what, error.where, error.expected, error.fix))
    return Message(failed=(in_a_line(error), "", "", ""))


def main(arguments: Sequence[str]) -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what native code prints goes to standard error, beside the messages
    serve(arguments[0], sys.stdin.buffer, answers)
    answers.flush()
    os._exit(0)  # destructors of GPU libraries have crashed after all was said


if __name__ == "__main__":
    main(sys.argv[1:])
