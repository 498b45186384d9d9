"""Has the library itself take a plan apart, in a child: a damaged plan may crash it.

``engines.tensorrt.runtime.trial LIBRARY PLAN [PLUGIN…]`` prints a ``Trial`` as JSON. Without a GPU a library reads a
plan's frame, complains of what is wrong there, and ends at the missing driver; that last is no fault of the plan.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec

from engines.errors import EngineError
from engines.processes.child_process import run_child
from engines.targets.target import LibraryName
from engines.tensorrt.library import errors_heard, load_library
from engines.tensorrt.plugins import load_plugins
from engines.tensorrt.runtime.plan import engine_validity, with_mapped
from engines.tensorrt.starting import new_runtime

LIMIT_S = 300.0
"""Seconds after which a library is taken to hang; a plan of 3 GB is read in under 10 (2 cores of an AMD EPYC).
Chosen."""
_MODULE = "engines.tensorrt.runtime.trial"
_PLANS_FAULTS = frozenset({"malformed engine"})
"""What ``get_engine_validity`` says of the plan; its other reasons are this machine's."""
_DAMAGE = re.compile(r"Error Code \d+: Serialization \((?P<words>.*)", re.DOTALL)
"""How TensorRT-RTX 1.7 and TensorRT 10 begin the message for a plan whose frame they cannot read."""
_SOURCE = re.compile(r"\s*In \w[\w()]* at /_src/\S+?:\d+\)?$")


@dataclass(frozen=True)
class Trial:
    """What is wrong with the plan in the library's words; empty where it found nothing. ``started`` is False where the
    library has no GPU to start with, and so did not look: TensorRT 8 wants one for a start."""

    faults: tuple[str, ...] = ()
    started: bool = True


def try_plan(library: LibraryName, plan: Path, plugins: Sequence[str] = ()) -> Trial:
    """What ``library`` finds wrong with ``plan``. Raises ``EngineError`` where it crashed or hung on it."""
    try:
        done = run_child(_MODULE, library, str(plan), *plugins, limit_s=LIMIT_S)
    except TimeoutError:
        raise EngineError(f"{library} hung on the plan for {LIMIT_S:.0f} s", where=str(plan)) from None
    if done.code != 0:
        raise EngineError(f"{library} could not take the plan apart: {done.last_words}", where=str(plan))
    return msgspec.json.decode(done.output.strip().splitlines()[-1], type=Trial)


def _try(name: LibraryName, plan: Path, plugins: Sequence[str]) -> Trial:
    library = load_library(name)
    try:
        runtime = new_runtime(library)
    except EngineError:
        return Trial(started=False)
    with errors_heard() as messages:
        load_plugins(library, runtime, plugins)
        validity = engine_validity(library, plan, runtime)
        with_mapped(plan, runtime.deserialize_cuda_engine)
    found = [reason for reason in validity.reasons if reason in _PLANS_FAULTS]
    found += [_SOURCE.sub("", match["words"]).strip(" .") for text in messages if (match := _DAMAGE.search(text))]
    return Trial(tuple(dict.fromkeys(found)))


def main(arguments: Sequence[str]) -> None:
    name, plan, *plugins = arguments
    found = _try(cast(LibraryName, name), Path(plan), plugins)
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
