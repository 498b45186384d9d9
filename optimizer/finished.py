"""The same command again: recognised from files alone, before a model is parsed or a heavy library imported.

A bundle records the *request* it answers: digests of the model's and the data's bytes, the settings, the GPU at hand
and the library versions. Inputs that a function yields have no bytes to look at, so such a request is never recognised
here; the pipeline then compares what the function yielded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.report.model import read_report
from engines.targets.gpus_here import detect_gpus
from graphs.digests import digest_of, sha256_file
from graphs.errors import BadInput, check_text
from graphs.storage.model_files import model_digest
from optimizer.bundle import finished_bundle
from optimizer.events import Events
from optimizer.result import Result
from optimizer.settings.given import DataSpec
from optimizer.settings.job import Settings
from optimizer.version import code_digest, tool_versions


def request_key(model: Path, settings: Settings) -> str:
    """Digest of everything the request names; empty where that cannot be told from files."""
    sources = [_files(spec) for spec in (settings.data, settings.eval_data)]
    if any(files is None for files in sources) or not model.is_file():
        return ""
    parts = [model_digest(model), settings.digest(), *(gpu.name for gpu in detect_gpus())]
    parts += [f"{name}={version}" for name, version in sorted(tool_versions().items())]
    parts += [code_digest()]
    parts += [part for files in sources for file in files or () for part in (str(file), sha256_file(file))]
    return digest_of(parts)


def _files(spec: DataSpec) -> list[Path] | None:
    """The files behind a data source in a fixed order; None for one that is no path."""
    if spec is None or spec == "random":
        return []
    if callable(spec) or not Path(spec).exists():
        return None
    files = sorted(_walk(Path(spec)))
    for file in files:
        check_text(file)
    return files


def _walk(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from (file for file in path.rglob("*") if file.is_file())


def kept_result(model: Path, settings: Settings, out: Path, events: Events) -> Result | None:
    """The result of an earlier run of the same request at ``out``; None where there is none or it is not whole."""
    try:
        key = request_key(model, settings)
    except (BadInput, OSError):  # the pipeline says what is wrong
        return None
    bundle = finished_bundle(out, request=key) if key else None
    if bundle is None:
        return None
    events.note("import", f"{out} already holds this job's bundle; --force makes it again")
    return Result(read_report(bundle.path / "report.json"), bundle.path)
