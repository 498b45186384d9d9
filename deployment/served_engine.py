"""What a serving system has to know of a bundle's engines: their files, tensors and batch range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.manifest import MANIFEST_NAME, EngineManifest
from graphs.errors import BadInput


@dataclass(frozen=True)
class ServedEngine:
    """An engine of a bundle, in ``folder``."""

    folder: Path
    manifest: EngineManifest

    @property
    def target(self) -> str:
        return self.manifest.target

    @property
    def file(self) -> Path:
        return self.folder / self.manifest.file

    @property
    def files(self) -> dict[str, Path]:
        """Every file the engine needs, by the name it must keep."""
        return {name: self.folder / name for name in self.manifest.files}

    @property
    def batches(self) -> bool:
        """Whether axis 0 is the batch of every input and output; where nobody has looked, of one symbol over inputs."""
        tensors = (*self.manifest.inputs, *self.manifest.outputs)
        known = all(spec.batch for spec in tensors)
        return all(spec.batched for spec in tensors) and (known or len({s.shape[0] for s in self.manifest.inputs}) == 1)

    @property
    def largest_batch(self) -> int | None:
        """The largest batch every input's profile covers; None where there is no profile."""
        return min((shapes.max[0] for shapes in self.manifest.profile.inputs.values() if shapes.max), default=None)

    @property
    def usual_batch(self) -> int | None:
        """The batch the profile is tuned for."""
        return min((shapes.opt[0] for shapes in self.manifest.profile.inputs.values() if shapes.opt), default=None)


def read_served_engines(bundle: Path, targets: Sequence[str] | None = None) -> list[ServedEngine]:
    """The engines of ``bundle`` in the order asked for, default all by name.

    Raises ``BadInput`` for a folder without engines, a target the bundle has no engine of, or a missing engine file.
    """
    folder = bundle / "engines"
    present = sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST_NAME}"))
    if not present:
        raise BadInput(
            "no bundle with engines", where=str(bundle), expected="a folder that `optimize MODEL.onnx` wrote"
        )
    for target in targets or ():
        if target not in present:
            raise BadInput(
                f"the bundle has no engine for {target!r}",
                where=str(folder),
                expected=f"one of {', '.join(present)}",
                fix=f"run `optimize MODEL.onnx --target {target}` first",
            )
    return [_read(folder / target) for target in dict.fromkeys(targets or present)]


def _read(folder: Path) -> ServedEngine:
    engine = ServedEngine(folder, EngineManifest.load(folder))
    for path in engine.files.values():
        if path.parent != folder or not path.is_file():
            raise BadInput("a file of the engine is missing", where=str(path), fix=engine.manifest.rebuild)
    return engine
