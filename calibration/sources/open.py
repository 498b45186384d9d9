"""One door for all data a user hands over: ``open_source``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from calibration.source import OpenedSource
from calibration.sources.folder import check_there, read_path
from calibration.sources.functions import FunctionSource
from calibration.sources.images import ImageSpec
from calibration.sources.limits import WithinLimits
from calibration.sources.records import RecordSource, file_digest
from calibration.sources.synthetic import SyntheticSource
from engines.engine import Feed, TensorSpec
from engines.user_code import check_named, load_callable
from graphs.errors import BadInput

DATA_FORMS = "an existing path, file.py:function or module:function"

Data = str | Path | Callable[[], Iterable[Feed]] | Iterable[Feed]


def open_source(
    data: Data,
    inputs: Sequence[TensorSpec],
    *,
    images: ImageSpec | None = None,
    samples: int | None = None,
    seed: int = 0,
    integer_bounds: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    index_limits: Mapping[str, int] | None = None,
    sizes: Collection[str] = (),
) -> OpenedSource:
    """The samples of ``data`` for a model with ``inputs``.

    ``data``: a path (``.npz``, ``.npy``, ``.jsonl``, an image, a folder of one of these), ``module:function``,
    ``file.py:function``, ``random``, a function that returns dicts of arrays, or a re-iterable of such dicts.
    ``samples``: at most so many, drawn with ``seed`` over files, the first ones of a function. ``integer_bounds``,
    ``shapes`` (input name -> exclusive bound, full shape) and ``sizes`` serve synthetic inputs only; values of real
    ones must lie within ``index_limits`` (input name -> size of the axis they index). The first sample is read at once,
    so that data of the wrong name, shape or dtype is refused here. Raises ``BadInput``.
    """
    if samples is not None and samples < 1:
        raise BadInput(f"{samples} samples asked for", expected="at least one")
    if not inputs:
        raise BadInput(
            "the model has no inputs: it answers the same whatever happens",
            expected="a model with inputs that data can be fed to",
            fix="take its outputs once, as constants, into the model that reads them",
        )
    source: OpenedSource
    if data == "random":
        source = SyntheticSource(
            inputs, samples=samples, seed=seed, integer_bounds=integer_bounds, shapes=shapes, sizes=sizes
        )
    else:
        source = _open(data, inputs, images, samples, seed)
    if index_limits and not source.synthetic:
        source = WithinLimits(source, index_limits)
    if not _first(source):
        raise BadInput("; ".join(["holds no samples", *source.notes]), where=source.description)
    return source


def check_given(data: Data | None) -> None:
    """Raises ``BadInput`` for a path or a function that is not there; nothing is read, and no code is run."""
    if data is None or data == "random" or not isinstance(data, (str, Path)):
        return
    if isinstance(data, str) and _names_code(data):
        check_named(data, DATA_FORMS)
    else:
        check_there(Path(data))


def _first(source: OpenedSource) -> list[Feed]:
    """The first sample, or its first row where a whole file may be one: a file may not fit into memory."""
    whole = any(spec.batch is False and spec.shape and isinstance(spec.shape[0], str) for spec in source.specs)
    return source.peek(1) if whole else list(islice(source.samples(), 1))


def from_files(data: Data | None) -> bool:
    """Whether samples of ``data`` are read or made by this program, and no code of the user's is asked for them."""
    return data is None or (isinstance(data, (str, Path)) and not _names_code(data))


def _names_code(data: str | Path) -> bool:
    return isinstance(data, str) and ":" in data and not Path(data).exists()


def _open(
    data: Data,
    inputs: Sequence[TensorSpec],
    images: ImageSpec | None,
    samples: int | None,
    seed: int,
) -> OpenedSource:
    if isinstance(data, str) and _names_code(data):
        return FunctionSource(inputs, load_callable(data, expected=DATA_FORMS), description=data, samples=samples)
    if isinstance(data, (str, Path)):
        return _open_path(Path(data), inputs, images, samples, seed)
    return FunctionSource(inputs, _producer(data), description=_name(data), samples=samples)


def _open_path(
    path: Path, inputs: Sequence[TensorSpec], images: ImageSpec | None, samples: int | None, seed: int
) -> RecordSource:
    found = read_path(path, inputs, images)
    return RecordSource(
        inputs,
        found.records,
        description=str(path),
        content=file_digest(path if path.is_dir() else path.parent, found.settings),
        samples=samples,
        seed=seed,
        notes=found.notes,
    )


def _producer(data: Callable[[], Iterable[Feed]] | Iterable[Feed]) -> Callable[[], Iterable[Feed]]:
    if callable(data):
        return data
    if isinstance(data, Iterator):
        raise BadInput(
            "a generator can be walked only once, calibration needs several passes",
            where=_name(data),
            fix="hand over the function that makes it, or a list",
        )
    return lambda: data


def _name(data: Any) -> str:
    return getattr(data, "__name__", None) or f"{type(data).__name__} of samples"
