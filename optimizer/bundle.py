"""The bundle: the folder a run leaves behind. It grows in ``<out>.partial`` and is renamed when complete."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from engines.targets.gpus_here import name_of_target, native_target
from engines.targets.target import CPU
from graphs.digests import sha256_file
from graphs.errors import BadInput, EnginewrightError, first_few
from graphs.files import read_json, unwritable, write_atomically, write_json
from graphs.staging import in_folder, replace_folder, restore
from optimizer.precision import PrecisionPlan
from optimizer.settings.recorded import RecordedSettings

SUFFIX = ".optimized"
"""What the main job ends the name of a bundle's folder with."""
SCHEMA = 1
"""Version of the layout of manifest.json."""
MANIFEST = "manifest.json"
REPORT = "report.json"
MODEL, PLAN, TABLE = "model.onnx", "precision.json", "calibration.json"
"""The typed graph, the precision of its nodes and the ranges of its tensors. The folder of an engine that runs another
graph has its own of these."""
PLANS = "plans"
"""Folder of the plans that a search found, for ``--plan``."""
STRUCTURE, CHOICES = "structure.json", "quantization.json"
"""For ``optimize update``: the float graph without its weights, and what quantizing a form decided, beside its plan."""
WORK = ".work"
LOCK = "lock"
SHARED, OWN = "shared", "own"
"""Folders of stages whose results depend on content alone, and of those that are this job's: measured, or placed."""
_NAMED = 3  # damaged files in an error: enough to see what kind they are
JOB = "job"
"""Holds the key of the job that the folder belongs to."""


@dataclass(frozen=True)
class BundleManifest:
    """What the bundle was made from and with. ``key`` identifies the job: the same key means the same bundle.

    ``request`` identifies it by files alone (``optimizer.finished``), empty where that cannot be told. ``settings`` are
    those of the job, for ``optimize update``.
    """

    key: str
    model_digest: str
    data_digest: str
    settings_digest: str
    tools: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA
    request: str = ""
    settings: RecordedSettings | None = None


@dataclass(frozen=True)
class Bundle:
    """A finished bundle on disk. Raises ``BadInput`` on opening a folder that is none."""

    path: Path

    def __post_init__(self) -> None:
        if not (self.path / MANIFEST).is_file():
            what = "is not a bundle" if self.path.exists() else "no such bundle"
            raise BadInput(
                what, where=str(self.path), expected=f"a folder with {MANIFEST}", fix="run `optimize MODEL.onnx`"
            )

    @property
    def name(self) -> str:
        """What it is called where nobody says otherwise: the folder's name without what the main job ends it with."""
        return self.path.resolve().name.removesuffix(SUFFIX)

    @property
    def manifest(self) -> BundleManifest:
        """Raises ``BadInput`` for one of a newer schema, whose fields may mean something else."""
        manifest = read_json(self.path / MANIFEST, BundleManifest)
        if manifest.schema > SCHEMA:
            raise BadInput(
                f"was made by a newer version: its manifest has schema {manifest.schema}",
                where=str(self.path),
                expected=f"schema {SCHEMA}",
                fix="use the version that made it (manifest.json: tools), or a later one",
            )
        return manifest

    def engine_directory(self, target: str) -> Path:
        """The folder of a target's engine; ``native`` is the GPU in use. Raises ``BadInput`` naming the targets."""
        target = name_of_target(target)
        directory = self.path / "engines" / target
        if not (directory / "engine.json").is_file():
            known = ", ".join(self.targets()) or "none"
            raise BadInput(f"no engine for target {target!r}", where=str(self.path), expected=f"one of: {known}")
        return directory

    def usual_target(self) -> str:
        """The engine that is meant where none is named: the CPU's, else that of the GPU in use, else the first."""
        names, native = self.targets(), native_target()
        here = [CPU.name, *([native.name] if native is not None else [])]
        return next((name for name in [*here, *names] if name in names), CPU.name)

    def targets(self) -> list[str]:
        return sorted(path.parent.name for path in (self.path / "engines").glob("*/engine.json"))

    def plan(self, target: str | None = None) -> PrecisionPlan:
        """The plan of ``model.onnx``, or of the graph that the engine of ``target`` runs. Raises ``BadInput``."""
        own = self.path / PLAN if target is None else self.engine_directory(target) / PLAN
        return read_json(own if own.is_file() else self.path / PLAN, PrecisionPlan)

    def damaged_files(self, *patterns: str) -> list[str]:
        """Files that are missing, or whose content is not what the manifest says; of those that fit one of ``patterns``
        (as a shell's, ``*`` goes for ``/``, too), all where none is given."""
        wanted = {n: d for n, d in self.manifest.files.items() if any(fnmatchcase(n, p) for p in patterns or ("*",))}
        return [name for name, digest in wanted.items() if not self._intact(name, digest)]

    def check_intact(self, *patterns: str) -> None:
        """Raise ``BadInput`` naming the ``damaged_files``: for whoever is about to hand them over."""
        if damaged := self.damaged_files(*patterns):
            raise BadInput(
                f"changed or missing since the bundle was made: {first_few(damaged, _NAMED)}",
                where=str(self.path),
                expected=f"the files that its {MANIFEST} names",
                fix="copy or make the bundle again (optimize MODEL.onnx --force); `optimize verify` lists all",
            )

    def _intact(self, name: str, digest: str) -> bool:
        path = self.path / name
        return path.is_file() and sha256_file(path) == digest


class Workspace:
    """The folder in which a bundle grows, and what helps to resume, which is dropped on publishing.

    It belongs to one job, known by ``key``: what another job left there is cleared, so that no file of that job's
    bundle gets into this one's. Only what its shared stages left stays: they are known by keys of their own, which name
    all they read.
    """

    def __init__(self, out: Path, key: str) -> None:
        self.out, self.key = out, key
        self.path = out.with_name(f"{out.name}.partial")
        self._old = out.with_name(f"{out.name}.old")

    @property
    def work(self) -> Path:
        return self.path / WORK

    def stage_folder(self, name: str, *, shared: bool) -> Path:
        """Where a stage (``optimizer.stages.runner``) leaves its files."""
        return self.work / (SHARED if shared else OWN) / name

    def check_place(self) -> None:
        """Raises ``BadInput`` where a bundle must not be written: over what is none, or inside another."""
        if self.out.exists() and not (self.out / MANIFEST).is_file() and not _empty(self.out):
            raise BadInput("exists and is not a bundle", where=str(self.out), fix="choose another folder with -o")
        if around := next((parent for parent in self.out.resolve().parents if _is_bundle(parent)), None):
            raise BadInput(
                f"lies inside the bundle {around.name}, which is replaced as a whole when it is made again",
                where=str(self.out),
                fix="choose a folder outside with -o",
            )

    @contextmanager
    def opened(self, force: bool) -> Iterator[None]:
        """Hold the folder for this process, taking up this job's interrupted work unless ``force``.

        Raises ``BadInput`` where nothing can be written, ``EnginewrightError`` when another run has the folder.
        """
        restore(self.out, self._old)
        self.check_place()
        with ExitStack() as held:
            try:
                held.enter_context(in_folder(self.path.parent))
                self.work.mkdir(parents=True, exist_ok=True)
                file = held.enter_context((self.work / LOCK).open("w"))
            except OSError as error:
                raise unwritable(self.out, error) from None
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise EnginewrightError("another run is writing this bundle", where=str(self.out)) from None
            try:
                if force or not self._is_this_jobs():
                    self._clear(keep=() if force else (SHARED,))
                    write_atomically(self.work / JOB, self.key.encode())
            except OSError as error:
                self.discard()
                raise unwritable(self.out, error) from None
            yield

    def _is_this_jobs(self) -> bool:
        owner = self.work / JOB
        return owner.is_file() and owner.read_bytes() == self.key.encode()

    def _clear(self, keep: tuple[str, ...]) -> None:
        """Remove everything; in the folder for resuming, all but the lock and what ``keep`` names."""
        for path in (*self.path.iterdir(), *self.work.iterdir()):
            if path == self.work or (path.parent == self.work and path.name in (LOCK, *keep)):
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def publish(self, manifest: BundleManifest) -> Bundle:
        """Hash every file, write the manifest and move the folder to its final place."""
        shutil.rmtree(self.work)
        files = sorted(path for path in self.path.rglob("*") if path.is_file())
        hashes = {str(path.relative_to(self.path)): sha256_file(path) for path in files}
        write_json(self.path / MANIFEST, _with_files(manifest, hashes))
        replace_folder(self.path, self.out, self._old)
        return Bundle(self.out)

    def discard(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def finished_bundle(out: Path, key: str = "", *, request: str = "") -> Bundle | None:
    """The bundle at ``out`` when it came from the same job (or the same request) and nothing in it is missing."""
    try:
        bundle = Bundle(out)
        manifest = bundle.manifest
    except BadInput:
        return None
    same = manifest.request == request if request else manifest.key == key
    whole = same and all((out / name).is_file() for name in manifest.files)
    return bundle if whole else None


def _with_files(manifest: BundleManifest, files: dict[str, str]) -> BundleManifest:
    return replace(manifest, files=files)


def _is_bundle(path: Path) -> bool:
    """Other programs have a ``manifest.json``, too."""
    try:
        return bool(Bundle(path).manifest.files)
    except (BadInput, OSError):
        return False


def _empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
