"""Published packages as a source of files: downloaded with their own clients, unpacked, never installed."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType


class NotFetched(Exception):
    """A file or package that could not be had, in one sentence."""


class Packages:
    """Packages under ``folder``, downloaded once: ``pip download`` and ``apt-get download``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def pypi(self, requirement: str) -> Path:
        """The unpacked wheel or source distribution of ``name==version``. Raises ``NotFetched``."""
        target = self._folder / requirement
        if not target.exists():
            archive = self._download(
                [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", requirement], requirement
            )
            _unpack(archive, target)
        return target

    def debian(self, name: str) -> Path:
        """The unpacked Debian package. Raises ``NotFetched``, also where there is no apt-get."""
        target = self._folder / name
        if not target.exists():
            archive = self._download(["apt-get", "download", name], name)
            _call(["dpkg-deb", "-x", str(archive), str(target)], name, self._folder)
        return target

    def _download(self, command: list[str], name: str) -> Path:
        folder = self._folder / "downloads" / name
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.iterdir()):
            _call(command, name, folder)
        return next(folder.iterdir())


def one(folder: Path, pattern: str) -> Path:
    """The only file under ``folder`` that matches. Raises ``NotFetched``."""
    found = sorted(folder.rglob(pattern))
    if not found:
        raise NotFetched(f"{folder.name} holds no {pattern}")
    return found[0]


def fetch_all(
    doc: str | None,
    models: Sequence[str],
    fetch: Callable[[str, Packages, Path], None],
    partial: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """The command that has ``fetch`` get ``models``, each into a folder of its name. ``partial`` says what no
    package holds of a model. The exit status is 1 where something is missing.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", default=",".join(models), help="comma-separated")
    arguments = parser.parse_args()
    packages = Packages((arguments.folder / "packages").absolute())
    missing: list[str] = []
    for name in arguments.models.split(","):
        out = arguments.folder.absolute() / name
        try:
            fetch(name, packages, out)
            print(f"{name}: {out / 'model.onnx'}", flush=True)
            lacking = partial.get(name, "")
        except NotFetched as error:
            lacking = str(error)
        missing += [f"{name}: {lacking}"] if lacking else []
    for line in missing:
        print(f"not fetched: {line}", file=sys.stderr)
    return 1 if missing else 0


def _unpack(archive: Path, target: Path) -> None:
    if archive.name.endswith((".tar.gz", ".tgz")):
        with tarfile.open(archive) as file:
            file.extractall(target, filter="data")
        return
    with zipfile.ZipFile(archive) as file:
        file.extractall(target)


def _call(command: list[str], name: str, folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NotFetched(f"{name}: there is no {command[0]} on this machine") from None
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise NotFetched(f"{name}: {lines[-1] if lines else f'{command[0]} failed'}")
