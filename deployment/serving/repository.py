"""Which models are served, and how one version takes another's place while requests come in.

The protocol's own way is its model repository extension: ``load`` reads the bundle anew from the path that the command
was started with, and never from one that a request names; ``unload`` ends a model. A new version is opened and warmed
up beside the old one, then takes all that comes; the old one answers what it had begun, and is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deployment.serving.figures import VersionRecorder
from deployment.serving.refusals import Refusal, not_found
from deployment.serving.version import ServedVersion, ServingOptions, engine_here, open_version, version_of
from graphs.errors import EnginewrightError, in_a_line

READY, UNAVAILABLE = "READY", "UNAVAILABLE"


@dataclass
class Model:
    """``bundles`` by the order given; the last one's version answers requests that name none. ``reason`` says why there
    is no version, or why the last load failed.
    """

    name: str
    bundles: tuple[Path, ...]
    versions: dict[str, ServedVersion] = field(default_factory=dict)
    reason: str = "not loaded"
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def current(self) -> ServedVersion | None:
        return next(reversed(self.versions.values()), None)


class Repository:
    """Models by name. Used from the event loop's thread alone."""

    def __init__(
        self,
        bundles: Mapping[str, Sequence[Path]],
        options: ServingOptions,
        recorder: Callable[[str, str], VersionRecorder],
        say: Callable[[str], None],
    ) -> None:
        self.models = {name: Model(name, tuple(paths)) for name, paths in bundles.items()}
        self._options, self._recorder, self._say = options, recorder, say
        self._retiring: dict[asyncio.Task[None], ServedVersion] = {}

    @property
    def ready(self) -> bool:
        return all(model.versions for model in self.models.values())

    def get(self, name: str, version: str = "") -> ServedVersion:
        """The version that answers now. Raises ``Refusal``: 404 for an unknown one, 503 for a model not loaded."""
        model = self._model(name)
        found = model.versions.get(version) if version else model.current
        if found is not None:
            return found
        if not model.versions:
            raise Refusal(503, f"model {name!r} is not ready: {model.reason}", retry=True)
        raise not_found(f"model {name!r} has no version {version[:80]!r}; expected one of {', '.join(model.versions)}")

    async def load(self, name: str) -> None:
        """Serve what the model's bundles hold now; what was served goes on where they cannot be opened.

        Raises ``Refusal`` for an unknown model, ``EnginewrightError`` for what is wrong with a bundle.
        """
        model = self._model(name)
        async with model.lock:
            opened: dict[str, ServedVersion] = {}
            try:
                for bundle in model.bundles:
                    found = await self._opened(name, bundle, {**model.versions, **opened})
                    opened.pop(found.version, None)  # of equal bundles the last one's place counts
                    opened[found.version] = found
            except EnginewrightError as error:
                model.reason = in_a_line(error)
                self._retire(version for key, version in opened.items() if key not in model.versions)
                raise
            before, model.versions = model.versions, opened
            self._retire(version for key, version in before.items() if key not in opened)
        if set(before) != set(opened):
            self._say(f"model {name!r}: version {', '.join(opened)}, {_engines(opened)}")
        old, new = next(reversed(before.values()), None), model.current
        if old is not None and new is not None and old.signature != new.signature:
            self._say(f"warning: model {name!r} has other inputs or outputs than before: clients may have to change")
        if any(version.signature != new.signature for version in opened.values() if new is not None):
            self._say(
                f"warning: the versions of model {name!r} differ in inputs or outputs: is each of the same model?"
            )

    async def _opened(self, name: str, bundle: Path, known: Mapping[str, ServedVersion]) -> ServedVersion:
        """What ``bundle`` holds now, opened where it is not one of those ``known``."""
        served = await asyncio.get_running_loop().run_in_executor(None, engine_here, bundle, self._options.target)
        found = known.get(version_of(served))
        return found or await open_version(name, served, self._options, self._recorder)

    async def load_all(self) -> None:
        """Load every model; those that fail say so and go on as they are."""
        for name in self.models:
            try:
                await self.load(name)
            except EnginewrightError as error:
                self._say(f"model {name!r} is not changed: {in_a_line(error)}")

    async def unload(self, name: str) -> None:
        """Answer what has begun, and nothing more."""
        model = self._model(name)
        async with model.lock:
            before, model.versions, model.reason = model.versions, {}, "unloaded"
            self._retire(before.values())

    def index(self, ready: bool = False) -> list[dict[str, str]]:
        """Name, version, state and reason of every version, as the extension lists them."""
        rows: list[dict[str, str]] = []
        for model in self.models.values():
            rows += [{"name": model.name, "version": key, "state": READY, "reason": ""} for key in model.versions]
            if not model.versions and not ready:
                rows.append({"name": model.name, "version": "", "state": UNAVAILABLE, "reason": model.reason})
        return rows

    def abandon(self, why: Exception) -> None:
        """Have every request raise ``why`` that is not answered yet, of versions that retire, too."""
        serving = [version for model in self.models.values() for version in model.versions.values()]
        for version in (*serving, *self._retiring.values()):
            version.abandon(why)

    async def close(self) -> None:
        """Retire everything, once all requests are answered."""
        for name in self.models:
            await self.unload(name)
        await asyncio.gather(*self._retiring)

    def _model(self, name: str) -> Model:
        found = self.models.get(name)
        if found is None:
            raise not_found(f"no model {name[:80]!r}; expected one of {', '.join(self.models)}")
        return found

    def _retire(self, versions: Iterable[ServedVersion]) -> None:
        for version in versions:
            task = asyncio.ensure_future(version.retire())
            self._retiring[task] = version
            task.add_done_callback(self._retiring.pop)


def _engines(versions: Mapping[str, ServedVersion]) -> str:
    return ", ".join(f"{v.served.target} engine of {v.served.folder.parent.parent}" for v in versions.values())
