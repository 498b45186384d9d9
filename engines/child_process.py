"""How a module of ours is started in a process of its own, whatever folder the user stands in.

``python -m`` puts the working folder first on the module path: a user's own ``benchmarks/`` or ``engines/`` would be
run in place of ours. ``PYTHONSAFEPATH`` keeps it out from Python 3.11 on only. So the child starts from a line of code
that moves the working folder to the end, where ``module:function`` of the user's is still found.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import engines

_START = (
    "import os, runpy, sys; "
    "here = os.getcwd(); "
    "sys.path[:] = [place for place in sys.path if place not in ('', here) or place in sys.argv[1].split(os.pathsep)]; "
    "sys.path.append(here); "
    "del sys.argv[1]; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def child_command(module: str, *arguments: str) -> list[str]:
    """The command that runs ``module`` (dotted name, as for ``python -m``) with ``arguments``."""
    return [sys.executable, "-c", _START, os.pathsep.join(_own_path()), module, *arguments]


def child_environment(**more: str) -> dict[str, str]:
    """This process's environment, in which the child finds our packages where they are not installed, and ``more``."""
    path = os.pathsep.join(filter(None, [*_own_path(), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, **({"PYTHONPATH": path} if path else {}), "PYTHONUNBUFFERED": "1", **more}


def _own_path() -> list[str]:
    """The folder our packages lie in; nothing where they are installed, as they are found there anyway."""
    root = Path(engines.__file__).resolve().parent.parent
    return [] if root.name in ("site-packages", "dist-packages") else [str(root)]
