"""Settings as a digest sees them: callables by name, files of code by their bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from graphs.digests import sha256_file

CODE_SUFFIXES = (".py", ".so", ".dll")


def digestible(value: Any) -> Any:
    """``value`` as plain JSON, a file of code that it names with its bytes. A callable is known by its name only: the
    data's own digest tells whether what it yields has changed."""
    if callable(value):
        return f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', repr(value))}"
    if isinstance(value, (tuple, list)):
        return [digestible(item) for item in value]
    text = str(value) if isinstance(value, Path) else value
    return [text, *map(sha256_file, _code_files(text))] if isinstance(text, str) else text


def _code_files(text: str) -> list[Path]:
    """The files whose code an option names: ``file.py:function``, ``module:function`` of the working folder, or
    libraries as in ``plugins=a.so:b.so``. Python files next to one count too, for it may import them.
    """
    named = text.rpartition(":")[0]
    places = [Path(place) for place in (named, *text.rpartition("=")[2].split(os.pathsep))]
    if named and "/" not in named:
        module = Path(*named.split("."))
        places += [module.with_name(f"{module.name}.py"), module / "__init__.py"]
    files = [path for path in dict.fromkeys(places) if path.suffix in CODE_SUFFIXES and path.is_file()]
    beside = [path for file in files if file.suffix == ".py" for path in sorted(file.parent.glob("*.py"))]
    return list(dict.fromkeys([*files, *beside]))
