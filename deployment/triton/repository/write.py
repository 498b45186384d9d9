"""A Triton model repository from a bundle: ``<name>/config.pbtxt`` and ``<name>/<version>/`` with the engine.

Layout: https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_repository.md
"""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deployment.served_engine import read_served_engines
from deployment.triton.protocol import parse_config, protocol_installed
from deployment.triton.repository.ensemble import Around, with_functions
from deployment.triton.repository.measured import searches
from deployment.triton.repository.models import ModelFolder, describe_models
from deployment.triton.repository.options import TritonOptions
from deployment.triton.repository.pbtxt import to_pbtxt
from deployment.triton.repository.versions import Place, check_version
from engines.onnxruntime.engine import OnnxRuntimeEngine
from graphs.errors import BadInput
from graphs.files import link_or_copy, unwritable, write_atomically
from graphs.staging import in_folder, staged


def write_triton_repository(
    bundle: Path,
    out: Path,
    *,
    name: str,
    targets: Sequence[str] | None = None,
    options: TritonOptions | None = None,
    around: Around | None = None,
) -> list[ModelFolder]:
    """Write a model repository into ``out`` and return its models; the bundle is only read.

    ``targets`` are folders of ``bundle/engines``, default all. GPU plans become one model, in which every GPU loads
    the plan of its own compute capability; the CPU engine becomes a second model ``<name>_cpu`` where both are asked
    for. A TensorRT-RTX plan, which no Triton backend loads, is served as the typed ``model.onnx`` that Triton's ONNX
    Runtime backend hands to TensorRT on the server; its ``config.pbtxt`` says so. With the Python backend each engine
    is a model of its own. Plans are hard-linked where the file system allows it; ONNX models are copied, since data
    beside a model may not have several hard links.

    ``around`` puts functions of the user's before and after the one model there is, as an ensemble of its name.
    Each ``config.pbtxt`` is read with Triton's own protocol definition first, where tritonclient is installed.

    A model that is there already gets another version (``options.version``), and keeps its configuration; where the
    very same is there nothing is written.
    What LoadGen's searches found of an engine decides instances and preferred batches where ``options`` do not; each
    ``config.pbtxt`` says where its values are from.
    Models are written beside ``out`` and renamed into it when all are complete; a server that polls never sees half of
    one.
    Raises ``BadInput`` for a folder that is no bundle, an unknown target, a batch beyond the profile, a name Triton
    cannot use, or a model that is already in ``out``.
    """
    _check_name(name)
    engines = read_served_engines(bundle, targets)
    asked = options or TritonOptions()
    found = searches(bundle, asked.bench)
    if asked.bench and not any(engine.target in found for engine in engines):
        told = f"tells of {', '.join(found)}, and served is {', '.join(engine.target for engine in engines)}"
        raise BadInput(
            told, where=str(asked.bench[0]), fix="optimize bench BUNDLE --target NAME --search --json > FILE"
        )
    models = describe_models(name, bundle, engines, asked, found)
    if around is not None:
        models = _with_functions(bundle, models, around)
    version = asked.version
    added = [check_version(out / model.config.name, model, version, asked) for model in models]
    models = [model for _, model in added]
    with _repository(out) as beside, ExitStack() as all_complete:
        for place, model in added:
            folder = out / model.config.name
            if place is Place.SAME:
                continue
            if place is Place.BESIDE:
                final = folder / str(version)
                _write_version(all_complete.enter_context(staged(final, beside=beside)), model)
            else:
                new = all_complete.enter_context(staged(folder, beside=beside))
                (new / str(version)).mkdir()
                _write_version(new / str(version), model)
                write_config(new, model)
    return models


def repository_files(out: Path, models: Sequence[ModelFolder]) -> list[Path]:
    """Every file of these models in ``out``, sorted."""
    return sorted(path for model in models for path in (out / model.config.name).rglob("*") if path.is_file())


def _with_functions(bundle: Path, models: Sequence[ModelFolder], around: Around) -> list[ModelFolder]:
    if len(models) > 1:
        names = ", ".join(model.engine.target for model in models)
        raise BadInput("functions go around one model", where="--target", expected=f"one of {names}")
    engine = models[0].engine
    on_cpu = engine.manifest.backend == "onnxruntime"
    with OnnxRuntimeEngine(engine.file if on_cpu else bundle / "model.onnx") as run:
        run.learn(engine.manifest.inputs, engine.manifest.outputs)
        return with_functions(models[0], around, run)


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        legal = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_.-") or "model"
        raise BadInput(
            f"{name!r} is no model name", where="--name", expected="letters, digits, _ . -", fix=f"--name {legal}"
        )


def _write_version(version: Path, model: ModelFolder) -> None:
    place = link_or_copy if model.plans else shutil.copyfile
    if not model.files:  # an ensemble: object stores keep no empty folder, and Triton wants a version
        (version / ".keep").touch()
    for filename, source in model.files.items():
        (version / filename).parent.mkdir(exist_ok=True)
        place(source, version / filename)


def write_config(folder: Path, model: ModelFolder) -> None:
    """``config.pbtxt`` of ``model``, read with Triton's own protocol definition before it is written, where that is
    installed."""
    why = [line for key, text in model.config.origins.items() for line in textwrap.wrap(f"{key}: {text}", 110)]
    comment = "".join(f"# {line}\n" for line in (*model.comment, *why))
    text = comment + to_pbtxt(model.config.message())
    if protocol_installed():
        parse_config(text, f"{model.config.name}/config.pbtxt")
    write_atomically(folder / "config.pbtxt", text.encode())


@contextmanager
def _repository(out: Path) -> Iterator[Path]:
    """Make ``out``, gone again if that fails and leaves nothing there, and give the folder in which its models grow.

    That lies beside ``out``, since Triton takes every folder in a repository for a model, hidden ones too; inside it
    only where ``out`` is a file system of its own or its parent cannot be written.
    """
    try:
        with in_folder(out):
            yield _staging_parent(out)
    except OSError as error:
        raise unwritable(out, error) from error


def _staging_parent(out: Path) -> Path:
    beside = out.resolve().parent
    same_file_system = beside.stat().st_dev == out.stat().st_dev
    return beside if same_file_system and os.access(beside, os.W_OK) else out
