"""A Triton model repository from a bundle: ``<name>/config.pbtxt`` and ``<name>/<version>/`` with the engine.

Layout: https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_repository.md
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deployment.config_pbtxt import to_pbtxt
from deployment.served_engine import read_served_engines
from deployment.triton_model import TritonOptions, describe_models
from engines.errors import BadInput
from engines.files import write_atomically


def write_triton_repository(
    bundle: Path,
    out: Path,
    *,
    name: str,
    targets: Sequence[str] | None = None,
    max_batch: int | None = None,
    instances: int = 1,
    queue_delay_us: int = 500,
    cuda_graphs: bool = False,
) -> list[Path]:
    """Write a model repository into ``out`` and return the paths of its files; the bundle is only read.

    ``targets`` are folders of ``bundle/engines``, default all. GPU plans become one model, in which every GPU loads
    the plan of its own compute capability; the CPU engine becomes a second model ``<name>_cpu`` where both are asked
    for. A TensorRT-RTX plan, which no Triton backend loads, is served as the typed ``model.onnx`` that Triton's ONNX
    Runtime backend hands to TensorRT on the server; its ``config.pbtxt`` says so. ``max_batch`` defaults to what the
    engine's profile covers; 0 turns batching off. Engines are hard-linked where the file system allows it, else copied.

    A model is written in a hidden folder and renamed when complete; a server that polls never sees half of one.
    Raises ``BadInput`` for a folder that is no bundle, an unknown target, a batch beyond the profile, a name Triton
    cannot use, or a model that is already in ``out``.
    """
    _check_name(name)
    engines = read_served_engines(bundle, targets)
    options = TritonOptions(max_batch, instances, queue_delay_us, cuda_graphs)
    models = describe_models(name, bundle, engines, options)
    for model in models:
        if (out / model.config.name).exists():
            raise BadInput("already there", where=str(out / model.config.name), fix="remove it, or choose another name")
    written: list[Path] = []
    for model in models:
        with _new_folder(out, model.config.name) as folder:
            for filename, source in model.files.items():
                _place(source, folder / "1" / filename)
            comment = "".join(f"# {line}\n" for line in model.comment)
            write_atomically(folder / "config.pbtxt", (comment + to_pbtxt(model.config.message())).encode())
        written += sorted(path for path in (out / model.config.name).rglob("*") if path.is_file())
    return written


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise BadInput(f"{name!r} is no model name", where="--name", expected="letters, digits, _ . -")


@contextmanager
def _new_folder(parent: Path, name: str) -> Iterator[Path]:
    """A hidden folder that becomes ``parent/name`` when the block ends well, and is removed when it does not."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".partial", dir=parent))
    except OSError as error:
        raise BadInput(f"cannot write: {error.strerror}", where=str(parent)) from None
    try:
        yield partial
        partial.chmod(0o755)
        partial.rename(parent / name)
    except OSError as error:
        raise BadInput(f"cannot write: {error.strerror}", where=str(parent / name)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _place(source: Path, destination: Path) -> None:
    """Hard-link, or copy where that is not possible (another file system, or one without links)."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, destination)
    except OSError:
        shutil.copyfile(source, destination)
