"""Write the repository; verify and tune it on a server where asked."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deployment.triton.repository.ensemble import Around
from deployment.triton.repository.models import ModelFolder
from deployment.triton.repository.options import TritonOptions
from deployment.triton.repository.write import repository_files, write_triton_repository
from deployment.triton.server.control import ServerControl
from deployment.triton.server.files import ServerFiles, find_server
from deployment.triton.server.local_server import local_server
from deployment.triton.server.options import server_options
from deployment.triton.tuning.search import Tuning
from engines.kserve import client_library
from graphs.errors import BadInput
from optimizer.verbs.deploy.triton.checking import Checked, CheckRequest, check_model
from optimizer.verbs.deploy.triton.image_files import images_read
from optimizer.verbs.deploy.triton.tune import TuneRequest, tune_model, within_its_steps

_REMOTE = re.compile(r"[\w.\-]+:\d+|\[[0-9A-Fa-f:]+\]:\d+")


@dataclass(frozen=True)
class TritonDeployment:
    """``files`` of the repository; ``server`` is the version that verified it, empty where none was asked for;
    ``tunings`` are by model."""

    repository: Path
    files: list[Path]
    models: list[ModelFolder]
    checks: list[Checked] = field(default_factory=list)
    tunings: dict[str, Tuning] = field(default_factory=dict)
    server: str = ""

    @property
    def ok(self) -> bool:
        """Whether all that was checked holds; of several models at least one must have been."""
        return not self.checks or (
            all(check.ok for check in self.checks) and any(check.found is not None for check in self.checks)
        )


def deploy_triton(
    bundle: Path,
    out: Path,
    *,
    name: str,
    targets: Sequence[str] = (),
    options: TritonOptions | None = None,
    check: CheckRequest | None = None,
    tune: TuneRequest | None = None,
    around: Around | None = None,
) -> TritonDeployment:
    """Write ``bundle``'s model repository to ``out``; on a server search what serves it best where ``tune`` says for
    what, and verify it where ``check`` says how. A search is followed by a check.

    Raises what ``write_triton_repository`` refuses, ``BadInput`` where no server is found or data cannot be read, and
    ``EngineError`` where the server does not come up.
    """
    request = check or CheckRequest()
    here = None
    if check or tune:  # what is missing is said before anything is written
        client_library("grpc")
        here = None if _REMOTE.fullmatch(request.server) else find_server(request.server)
    before = set(out.glob("*/*"))
    with images_read(around, bundle, targets) as functions:
        models = write_triton_repository(bundle, out, name=name, targets=targets, options=options, around=functions)
    if not check and not tune:
        return TritonDeployment(out, repository_files(out, models), models)
    with _unless_refused(out, models, before), _server(here, request.server, out, models) as control:
        backends = here.backend_names if here else None
        version, tunings = control.version(), dict[str, Tuning]()
        if tune is not None:
            pairs = [tune_model(bundle, out, model, control, request, tune, backends) for model in models]
            tuned = [model for model, _ in pairs]
            models = [within_its_steps(out, model, tuned, control) for model in tuned]
            tunings = {model.config.name: found for model, found in pairs if found}
        checks = [check_model(bundle, model, control, request, backends) for model in models if not model.part]
    return TritonDeployment(out, repository_files(out, models), models, checks, tunings, version)


@contextmanager
def _unless_refused(out: Path, models: Sequence[ModelFolder], before: Collection[Path]) -> Iterator[None]:
    """What was written beyond ``before`` goes where it turns out that what was asked for cannot be done: the command
    that is put right would find it in its way."""
    try:
        yield
    except BadInput:
        for folder in {out / model.config.name for model in models}:
            for path in set(folder.iterdir()) - set(before):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            if not any(folder.iterdir()):
                folder.rmdir()
        if not any(out.iterdir()):
            out.rmdir()
        raise


@contextmanager
def _server(
    here: ServerFiles | None, address: str, repository: Path, models: Sequence[ModelFolder]
) -> Iterator[ServerControl]:
    if here is not None:
        try:
            with local_server(here, repository, server_options(model.config for model in models)) as control:
                yield control
        finally:
            for model in models:  # the Python backend's, which starts Python with no way to tell it otherwise
                for compiled in (repository / model.config.name).rglob("__pycache__"):
                    shutil.rmtree(compiled, ignore_errors=True)
        return
    control = ServerControl(address)
    try:
        yield control
    finally:
        control.close()
