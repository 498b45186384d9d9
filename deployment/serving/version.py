"""One version of a model that is served: the engine of a bundle that runs here, its queue, and its end without a
request lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deployment.served_engine import ServedEngine, read_served_engines
from deployment.serving.batcher import Batcher, Joining
from deployment.serving.figures import VersionRecorder
from deployment.serving.revived import RevivedEngine
from deployment.serving.tensors import Inputs
from engines.datatypes import NAMES
from engines.engine import Array, Engine, EngineBase, Feed, TensorSpec
from engines.errors import BuildError, EngineError
from engines.feeds.batching import batched_names
from engines.feeds.feed_check import FeedCheck
from engines.integrity import check_io
from engines.manifest import MANIFEST_NAME, check_digest, check_loadable
from engines.open import open_engine, runtime_here
from engines.parallel import available_cores
from engines.profile import LARGEST_BATCH
from graphs.digests import sha256_file
from graphs.errors import BadInput, EnginewrightError

VERSION_DIGITS = 12
"""Hexadecimal digits of a digest that name a version: two of a million differ with a probability over 99.8 %.
Chosen."""

MOST_INSTANCES = 256
"""Copies of one engine at most: as many as large servers have cores; more only take memory. Chosen."""


@dataclass(frozen=True)
class ServingOptions:
    """``target`` empty takes the GPU that is here where the bundle has its engine, else the CPU's. ``instances`` are
    copies of the engine, ``threads`` ONNX Runtime's of each; 0 takes the cores there are. ``max_batch`` 0 is what the
    engine's profile covers, 1 turns batching off. ``isolate`` runs a CPU's engine, too, in a process of its own.
    """

    target: str = ""
    instances: int = 1
    threads: int = 0
    max_batch: int = 0
    queue_delay_us: int = 0
    isolate: bool = False

    def __post_init__(self) -> None:
        least = {"instances": 1, "threads": 0, "max_batch": 0, "queue_delay_us": 0}
        for name, smallest in least.items():
            if (value := getattr(self, name)) < smallest:
                option = f"--{name.removesuffix('_us').replace('_', '-')}"
                raise BadInput(f"{value} is too small", where=option, expected=f"{smallest} or more")
        if self.instances > MOST_INSTANCES:
            what = f"{self.instances:,} copies of an engine, each with threads and memory of its own"
            raise BadInput(what, where="--instances", expected=f"at most {MOST_INSTANCES}; about one for each core")
        if self.queue_delay_us and self.max_batch == 1:
            what = "changes nothing: no request is joined with another (--max-batch 1)"
            raise BadInput(what, where="--queue-delay", fix="leave one of them out")


class ServedVersion:
    """``inputs`` and ``outputs`` are of the model's own types; ``version`` is the digest of ``engine.json``, which
    holds that of the engine's files.
    """

    def __init__(
        self, name: str, version: str, served: ServedEngine, engines: Sequence[EngineBase], pool: ThreadPoolExecutor,
        joining: Joining, recorder: VersionRecorder,
    ) -> None:  # fmt: skip
        self.name, self.version, self.served = name, version, served
        self.inputs = tuple(_of_the_model(spec) for spec in engines[0].inputs)
        self.outputs = tuple(_of_the_model(spec) for spec in engines[0].outputs)
        self.decode = Inputs(self.inputs)
        self.figures = recorder.figures
        self._check = FeedCheck(self.inputs, f"model {name!r}")
        self._engines, self._pool = engines, pool
        self._batcher = Batcher(engines, pool, joining, recorder)
        self._users, self._unused = 0, asyncio.Event()
        self._left: list[Engine] = []

    @property
    def signature(self) -> list[tuple[str, str, list[int | None]]]:
        """Name, dtype and shape of every tensor, a dynamic axis as None: what clients must fit."""
        specs = (*self.inputs, *self.outputs)
        return [(s.name, s.dtype, [size if isinstance(size, int) else None for size in s.shape]) for s in specs]

    @property
    def joining(self) -> Joining:
        return self._batcher.joining

    @property
    def instances(self) -> int:
        return len(self._engines)

    @contextmanager
    def used(self) -> Iterator[ServedVersion]:
        """For as long as a request needs this version: it is not closed before."""
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def infer(self, feed: Feed) -> dict[str, Array]:
        """Every output of one request. Raises ``EngineError``: in the feed check's words where the feed is at fault."""
        return await self._batcher.infer(feed)

    def check(self, feed: Feed) -> None:
        """Raises ``EngineError`` naming the input that is missing, unknown, or of another dtype or shape."""
        self._check(feed)

    def abandon(self, why: Exception) -> None:
        """Have what is not answered yet raise ``why``. A run in this process cannot be stopped, and is left to end by
        itself, its engine open; one in a process of its own is ended."""
        self._left = self._batcher.abandon(why)
        for engine in self._left:
            if isinstance(engine, RevivedEngine):
                engine.kill()

    async def retire(self) -> None:
        """Answer every request that has begun, unless it was abandoned, then close the engines."""
        while self._users:
            self._unused.clear()
            await self._unused.wait()
        if not self._left:
            await self._batcher.empty()
        loop = asyncio.get_running_loop()
        closing = [e for e in self._engines if e not in self._left or isinstance(e, RevivedEngine)]
        await asyncio.gather(*(loop.run_in_executor(self._pool, engine.close) for engine in closing))
        self._pool.shutdown(wait=False)


def version_of(served: ServedEngine) -> str:
    """Raises ``EngineError`` where the bundle is no longer there."""
    path = served.folder / MANIFEST_NAME
    try:
        return sha256_file(path)[:VERSION_DIGITS]
    except OSError as error:
        raise EngineError(f"cannot be read: {error.strerror}", where=str(path)) from error


def engine_here(bundle: Path, target: str = "") -> ServedEngine:
    """The engine of ``target``, else the first that this machine runs, GPUs before the CPU. Raises ``BadInput``."""
    found = read_served_engines(bundle, [target] if target else None)
    found.sort(key=lambda engine: engine.manifest.compute_capability is None)
    reasons: list[str] = []
    for engine in found:
        try:
            check_loadable(engine.manifest, engine.folder, runtime_here(engine.manifest))
            return engine
        except (EngineError, BuildError) as error:
            if len(found) == 1:
                raise
            reasons.append(f"{engine.target}: {error.what}")
    fix = "run `optimize MODEL.onnx --target cpu` for an engine that runs on any machine"
    raise BadInput(f"no engine runs here ({'; '.join(reasons)})", where=str(bundle), fix=fix)


async def open_version(
    name: str, served: ServedEngine, options: ServingOptions, recorder: Callable[[str, str], VersionRecorder]
) -> ServedVersion:
    """Open and warm up, in threads that live as long as the version. Raises ``BadInput`` and ``EngineError``, also
    where another bundle took its place meanwhile: an answer must not name a version that did not compute it.
    """
    _check_types(served)
    version = version_of(served)
    loop = asyncio.get_running_loop()
    pool = ThreadPoolExecutor(options.instances, thread_name_prefix=name)
    try:
        await loop.run_in_executor(pool, check_digest, served.manifest, served.folder)
        joining = _joining(served, options)
        opened = [loop.run_in_executor(pool, _open, served, options, joining) for _ in range(options.instances)]
        engines = await _all_or_none(opened)
        try:
            if version_of(served) != version:
                what = "the bundle changed while it was opened"
                raise EngineError(what, where=str(served.folder), fix="load it again")
            check_io(served.manifest, served.folder, {s.name for s in (*engines[0].inputs, *engines[0].outputs)})
        except EngineError:
            await asyncio.gather(*(loop.run_in_executor(pool, engine.close) for engine in engines))
            raise
    except BaseException:
        pool.shutdown(wait=False)
        raise
    return ServedVersion(name, version, served, engines, pool, joining, recorder(name, version))


async def _all_or_none(opening: Sequence[asyncio.Future[EngineBase]]) -> list[EngineBase]:
    found = await asyncio.gather(*opening, return_exceptions=True)
    engines = [engine for engine in found if isinstance(engine, EngineBase)]
    for failure in found:
        if isinstance(failure, BaseException):
            for engine in engines:
                engine.close()
            raise failure
    return engines


def _check_types(served: ServedEngine) -> None:
    for spec in (*served.manifest.inputs, *served.manifest.outputs):
        if _of_the_model(spec).dtype not in NAMES:
            what = f"{spec.name!r} holds {spec.dtype}, which is not served"
            raise BadInput(what, where=str(served.file), expected=f"one of {', '.join(NAMES)}")


def _of_the_model(spec: TensorSpec) -> TensorSpec:
    return replace(spec, dtype=spec.declared or spec.dtype)


def _joining(served: ServedEngine, options: ServingOptions) -> Joining:
    """Requests are joined where axis 0 counts samples in every output, and in inputs that are found to (others must
    then be equal); nowhere else."""
    manifest = served.manifest
    inputs = batched_names(manifest.inputs)
    outputs = tuple(spec.name for spec in manifest.outputs if spec.batched)
    rows = options.max_batch or served.largest_batch or LARGEST_BATCH
    if not inputs or len(outputs) != len(manifest.outputs) or rows == 1:
        return Joining()
    return Joining(inputs, outputs, rows, options.queue_delay_us * 1e-6)


def _open(served: ServedEngine, options: ServingOptions, joining: Joining) -> EngineBase:
    if served.manifest.compute_capability is not None or options.isolate:
        engine: EngineBase = RevivedEngine(served.folder, served.manifest)
    else:
        threads = options.threads or max(available_cores() // options.instances, 1)
        engine = open_engine(served.folder, threads=threads, spin=False)
    for rows in sorted({1, joining.rows}):
        with suppress(EnginewrightError):  # zeros may not suit a model; that is no reason not to serve it
            engine.infer(_zeros(served, rows, joining))
    return engine


def _zeros(served: ServedEngine, rows: int, joining: Joining) -> dict[str, Array]:
    """A feed that most models take: a token or an index of 0 is valid, and memory for a full batch is taken early."""
    feed: dict[str, Array] = {}
    for spec in served.manifest.inputs:
        usual = served.manifest.profile.inputs.get(spec.name)
        shape = usual.opt if usual else tuple(size if isinstance(size, int) else 1 for size in spec.shape)
        shape = (rows, *shape[1:]) if spec.name in joining.inputs else shape
        feed[spec.name] = np.zeros(shape, spec.numpy_dtype())
    return feed
