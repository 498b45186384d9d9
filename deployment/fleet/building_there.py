"""One build as a worker of a cluster does it: files in, files out. It knows nothing of who sends it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from engines.build import BuildRequest, build_engine
from engines.errors import BuildError, BuildFailure
from graphs.errors import BadInput, EnginewrightError

MODEL, ENGINE = "model.onnx", "engine"


@dataclass(frozen=True)
class Built:
    """The files of an engine directory, by name within it."""

    files: dict[str, bytes]


@dataclass(frozen=True)
class Refused:
    """Why there is no engine: the fields of a ``BuildError``, or of a ``BadInput`` where ``failure`` is None."""

    failure: BuildFailure | None
    what: str
    where: str
    expected: str
    fix: str

    def error(self) -> EnginewrightError:
        """The error to raise where the build was asked for."""
        told = {"where": self.where, "expected": self.expected, "fix": self.fix}
        return BadInput(self.what, **told) if self.failure is None else BuildError(self.failure, self.what, **told)


def installed_version() -> str:
    """Of enginewright on this machine; empty where it runs from a folder that was never installed."""
    try:
        return version("enginewright")
    except PackageNotFoundError:
        return ""


def build_there(request: BuildRequest, files: Mapping[str, bytes], asked_by: str) -> Built | Refused:
    """Build ``request`` whose model is ``files``. ``asked_by`` is the version that asks, which must be the one that is
    installed here: an engine's manifest is theirs together.
    """
    if asked_by != (own := installed_version()):
        what = f"the worker has enginewright {own or 'of no version'}, the driver {asked_by or 'one of no version'}"
        return Refused(BuildFailure.MISSING_LIBRARY, what, "", "", "install the same version on all machines")
    with tempfile.TemporaryDirectory(prefix="enginewright-fleet-") as folder:
        place = Path(folder)
        for name, content in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        try:
            build_engine(replace(request, model=place / MODEL, out=place / ENGINE))
        except BuildError as error:
            return Refused(error.failure, error.what, error.where, error.expected, error.fix)
        except BadInput as error:
            return Refused(None, error.what, error.where, error.expected, error.fix)
        engine = place / ENGINE
        found = (path for path in engine.rglob("*") if path.is_file())
        return Built({str(path.relative_to(engine)): path.read_bytes() for path in found})
