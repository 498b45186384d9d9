"""Files and folders as records: which files of a folder are data, and how each kind is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from calibration.sources import images, tokens
from calibration.sources.records import ArrayRecord, Record, layout_notes
from calibration.sources.rows import open_npy, open_npz
from engines.engine import TensorSpec
from graphs.errors import BadInput, check_text

KINDS = {".npz": "npz", ".npy": "npy", ".jsonl": "jsonl", **dict.fromkeys(images.EXTENSIONS, "image")}
READABLE = ".npz, .npy, .jsonl, " + ", ".join(sorted(images.EXTENSIONS))


@dataclass(frozen=True)
class Found:
    """The records of a file or folder, what was assumed on the way, and settings that belong into the digest."""

    records: list[Record]
    notes: list[str]
    settings: str = ""


def check_there(path: Path) -> None:
    """Raises ``BadInput`` where there is nothing at ``path``."""
    if not path.exists():
        raise BadInput("no such file or folder", where=str(path), expected=f"{READABLE} or a folder of these")


def read_path(path: Path, specs: Sequence[TensorSpec], image: images.ImageSpec | None) -> Found:
    """The records of one file, or of all files of one kind below a folder in sorted order. Raises ``BadInput``."""
    check_there(path)
    files = data_files(path) if path.is_dir() else [path]
    kind = _kind_of(files, path)
    if kind == "image":
        return _read_images(path, files, specs, image)
    readers: dict[str, Callable[[Path, Sequence[TensorSpec], list[Path]], Found]]
    readers = {"npz": _read_npz, "npy": _read_npy, "jsonl": _read_jsonl}
    return readers[kind](path, specs, files)


def data_files(folder: Path) -> list[Path]:
    """Files of a kind we read below ``folder``, hidden ones left out, sorted by their path."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in KINDS and p.is_file())
    visible = (p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))
    files = sorted(visible, key=lambda p: p.relative_to(folder).as_posix())
    for file in files:
        check_text(file)
    return files


def _kind_of(files: Sequence[Path], path: Path) -> str:
    kinds = sorted({KINDS.get(file.suffix.lower(), "") for file in files})
    if len(kinds) == 1 and kinds[0]:
        return kinds[0]
    if not files:
        raise BadInput("the folder holds no data", where=str(path), expected=READABLE)
    if kinds == [""]:
        raise BadInput(
            f"{path.suffix or 'a file without suffix'} is no data format",
            where=str(path),
            expected=READABLE,
            fix=f"name the function that yields samples: {path}:FUNCTION" if path.suffix == ".py" else "",
        )
    raise BadInput(f"the folder mixes {' and '.join(kinds)} files", where=str(path), expected="files of one kind")


def _read_npz(path: Path, specs: Sequence[TensorSpec], files: list[Path]) -> Found:
    records = [ArrayRecord.of(str(file), open_npz(file), specs, (file,)) for file in files]
    return Found(list(records), layout_notes(records))


def _read_npy(path: Path, specs: Sequence[TensorSpec], files: list[Path]) -> Found:
    if len(specs) == 1:
        name = specs[0].name
        records = [ArrayRecord.of(str(file), {name: open_npy(file)}, specs, (file,)) for file in files]
        return Found(list(records), layout_notes(records))
    by_name = {file.stem: file for file in files}
    if not {spec.name for spec in specs} <= by_name.keys():
        raise BadInput(
            f"a .npy holds one array, the model has {len(specs)} inputs",
            where=str(path),
            expected="a folder with one .npy per input: " + ", ".join(f"{spec.name}.npy" for spec in specs),
            fix="or write one .npz with np.savez(path, name=array, ...)",
        )
    used = {spec.name: by_name[spec.name] for spec in specs}
    arrays = {name: open_npy(file) for name, file in used.items()}
    record = ArrayRecord.of(str(path), arrays, specs, tuple(used.values()))
    return Found([record], layout_notes([record]))


def _read_jsonl(path: Path, specs: Sequence[TensorSpec], files: list[Path]) -> Found:
    records = [tokens.JsonLines(file, tuple(specs)) for file in files]
    keys = next((keys for record in records if (keys := record.first_keys())), [])
    return Found([record for record in records if record.count], tokens.completion_notes(keys, specs))


def _read_images(path: Path, files: list[Path], specs: Sequence[TensorSpec], image: images.ImageSpec | None) -> Found:
    if len(specs) != 1:
        raise BadInput(
            f"images feed models with one input, this one has {len(specs)}",
            where=str(path),
            expected="; ".join(repr(spec.name) for spec in specs),
            fix="write .npz files with one array per input",
        )
    chosen, how = _image_spec(path, specs[0], image)
    records: list[Record] = [images.ImageRecord(file, specs[0], chosen) for file in files]
    return Found(records, [f"images: {chosen.text()} ({how})"], repr(chosen))


def _image_spec(path: Path, spec: TensorSpec, given: images.ImageSpec | None) -> tuple[images.ImageSpec, str]:
    if given is not None:
        return given, "as given"
    file = (path if path.is_dir() else path.parent) / images.SPEC_FILE
    if file.exists():
        return images.read_spec(file, images.usual_spec(spec)), f"from {file.name}"
    return images.default_spec(spec), f"assumed from the input's shape; say otherwise in {file}"
