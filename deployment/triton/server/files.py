"""A tritonserver on this machine: on the PATH, in NVIDIA's container, or in the wheel nvidia-pytriton.

The wheel (https://pypi.org/project/nvidia-pytriton) holds a server for Linux x86-64 with the Python backend, and that
backend's stub for each Python from 3.8 to 3.13. A stub embeds the interpreter: it must be of the version that
packages were installed for, and load that interpreter's own libpython.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

from graphs.errors import BadInput

INSTALL = "pip install --no-deps 'nvidia-pytriton>=0.7,<0.8'"
"""Without what it asks for: its own Python code, which is not used here, wants numpy below 2."""
_CONTAINER = Path("/opt/tritonserver/bin/tritonserver")
_PYTHON = "{}.{}".format(*sys.version_info[:2])
_STUB = "triton_python_backend_stub"


@dataclass(frozen=True)
class ServerFiles:
    """A tritonserver and where its backends lie.

    ``stubs`` are the wheel's, by Python version; elsewhere the one stub lies with the backend. ``libraries`` go before
    the loader's own path, ``caches`` holds response cache implementations.
    """

    binary: Path
    backends: Path
    caches: Path | None = None
    stubs: dict[str, Path] = field(default_factory=dict)
    libraries: tuple[Path, ...] = ()

    @property
    def backend_names(self) -> tuple[str, ...]:
        """What it can run, as ``config.pbtxt`` names it: ``python``, ``onnxruntime``, ``tensorrt``."""
        return tuple(sorted(path.name for path in self.backends.iterdir())) if self.backends.is_dir() else ()

    def assemble(self, folder: Path) -> Path:
        """The folder to give as ``--backend-directory``: where stubs lie apart, one of links in ``folder`` with the
        stub of this Python. Raises ``BadInput`` where the wheel has none for it."""
        if not self.stubs:
            return self.backends
        if _PYTHON not in self.stubs:
            known = ", ".join(sorted(self.stubs, key=_in_order))
            raise BadInput(f"has no stub for Python {_PYTHON}", where="nvidia-pytriton", expected=f"Python {known}")
        for backend in self.backends.iterdir():
            place = folder / backend.name
            place.mkdir(parents=True)
            for file in backend.iterdir():
                (place / file.name).symlink_to(file)
        (folder / "python" / _STUB).symlink_to(self.stubs[_PYTHON])
        return folder

    def environment(self) -> dict[str, str]:
        """What the server's own process needs in its environment for this Python's packages to be found.

        The stub starts Python isolated: ``PYTHONPATH`` and ``PYTHONHOME`` are not read, but whose interpreter stands
        first on the ``PATH`` is taken for its own, virtual environment included. Raises ``BadInput`` where the stub
        wants a libpython that this Python does not have.
        """
        libraries = list(self.libraries)
        own: dict[str, str] = {}
        if self._stub_python() == _PYTHON:  # packages of another version would not load there
            libraries += [_libpython_folder()] if self._wants_libpython() else []
            packages = os.pathsep.join(place for place in sys.path if place)  # our models read it themselves
            own = {
                "PATH": _before(Path(sys.executable).parent, variable="PATH"),
                "PYTHONPATH": packages,
            }
        return own | ({"LD_LIBRARY_PATH": _before(*libraries, variable="LD_LIBRARY_PATH")} if libraries else {})

    def _stub(self) -> Path | None:
        stub = self.stubs.get(_PYTHON, self.backends / "python" / _STUB)
        return stub if stub.is_file() else None

    def _stub_python(self) -> str:
        """The Python version that the stub embeds; empty where there is none."""
        if _PYTHON in self.stubs:
            return _PYTHON
        stub = self._stub()
        found = re.search(rb"libpython(3\.\d+)\.so", stub.read_bytes()) if stub else None
        return found[1].decode() if found else ""

    def _wants_libpython(self) -> bool:
        """Whether the stub loads the interpreter's library by its usual name; some come with their own."""
        stub = self._stub()
        return stub is not None and f"libpython{_PYTHON}.so".encode() in stub.read_bytes()


def find_server(given: str = "") -> ServerFiles:
    """The server at ``given``, else the first found: PATH, NVIDIA's container, the wheel. Raises ``BadInput``."""
    if given:
        path = shutil.which(given)
        if path is None:
            raise BadInput("no program to run", where=given, expected="the path of a tritonserver")
        return _installed(Path(path))
    on_path = shutil.which("tritonserver") or (str(_CONTAINER) if _CONTAINER.is_file() else None)
    found = _installed(Path(on_path)) if on_path else _in_wheel()
    if found is None:
        raise BadInput(
            "no tritonserver found: none on the PATH, in /opt/tritonserver or in the wheel nvidia-pytriton",
            where="--check",
            fix=f"{INSTALL} (55 MB; Linux x86-64), or name one (--triton-server PATH or HOST:PORT)",
        )
    return found


def _installed(binary: Path) -> ServerFiles:
    root = binary.resolve().parent.parent
    caches = root / "caches"
    return ServerFiles(binary, root / "backends", caches if caches.is_dir() else None)


def _in_wheel() -> ServerFiles | None:
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    root = package / "tritonserver"
    stubs = {path.parent.name: path for path in root.glob(f"python_backend_stubs/*/{_STUB}")}
    binary = root / "bin" / "tritonserver"
    if not binary.is_file():
        return None
    libraries = package.parent / "nvidia_pytriton.libs"
    return ServerFiles(binary, root / "backends", root / "caches", stubs, (libraries,))


def _in_order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _before(*folders: Path, variable: str) -> str:
    """``folders``, then what the variable holds already."""
    return os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get(variable, "")])])


def _libpython_folder() -> Path:
    """Where this interpreter's own library lies: another of the same version would mix two standard libraries."""
    name = f"libpython{_PYTHON}.so.1.0"
    configured = sysconfig.get_config_var("LIBDIR")
    multiarch = sysconfig.get_config_var("MULTIARCH")
    folders = [Path(sys.base_prefix) / "lib", *([Path(configured)] if configured else [])]
    folders += [folder / multiarch for folder in list(folders)] if multiarch else []
    for folder in folders:
        if (folder / name).is_file():
            return folder
    raise BadInput(
        f"this Python has no {name}, which Triton's Python backend runs",
        where=sys.base_prefix,
        fix=f"apt install libpython{_PYTHON}, or use a Python built with --enable-shared",
    )
