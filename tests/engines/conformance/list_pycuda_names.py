"""Run as a script on a pycuda sdist: print the names ``pycuda.driver`` defines, as in ``pycuda_names.json``.

pycuda imports only where libcuda and libcurand are, so its names are read from its C++ source
(``src/wrapper/wrap_cudadrv.cpp``), which says the same on every machine.
"""

from __future__ import annotations

import json
import re
import sys
import tarfile
from pathlib import Path

CLASS = re.compile(r"py::class_<.*|py::enum_<.*")
MEMBER = re.compile(r'\.(?:def|add_property|value)\(\s*"(\w+)"|\.DEF_SIMPLE_METHOD(?:_WITH_ARGS)?\((\w+)')
FUNCTION = re.compile(r'py::def\(\s*"(\w+)"|\bDEF_SIMPLE_FUNCTION(?:_WITH_ARGS)?\((\w+)|DECLARE_EXC\((\w+), [^B]')


def names(source: str) -> dict[str, list[str]]:
    """Class, enum or function -> sorted members (none for functions)."""
    found: dict[str, set[str]] = {}
    current, expects_name = "", False
    for line in source.splitlines():
        if CLASS.search(line):
            current, expects_name = "", True
        if expects_name and (name := re.search(r'"(\w+)"', line)):
            current, expects_name = name.group(1), False
            found.setdefault(current, set())
        if function := FUNCTION.search(line):
            found.setdefault(next(filter(None, function.groups())), set())
        elif current:
            found[current] |= {a or b for a, b in MEMBER.findall(line)}
    return {name: sorted(members) for name, members in sorted(found.items())}


def main() -> None:
    sdist = Path(sys.argv[1])
    with tarfile.open(sdist) as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith("src/wrapper/wrap_cudadrv.cpp"))
        file = archive.extractfile(member)
        assert file is not None
        source = file.read().decode()
    version = sdist.name.removeprefix("pycuda-").removesuffix(".tar.gz")
    print(json.dumps({"version": version, "names": names(source)}, indent=1))


if __name__ == "__main__":
    main()
