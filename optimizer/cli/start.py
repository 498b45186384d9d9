"""Where the ``optimize`` command begins: before anything that takes time is loaded."""

from __future__ import annotations

import io
import signal
import sys


def main() -> None:
    """Load the command and run it.

    Ctrl-C ends the process without a word until the work has a process of its own (``isolated``): nothing has begun,
    and Python would print the stack of whatever is being imported. What a terminal's encoding lacks is printed as
    ``?``: names come from models and files, and a table has signs beyond ASCII.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # of a job in the background it is ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    from optimizer.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
