"""README and docs name what is there: pages and headings that they link to, files, modules, verbs and options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from optimizer.cli.main import MAIN_JOB, application

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "studies").rglob("README.md"))]
ROOMS = ("graphs", "engines", "calibration", "benchmarks", "deployment", "optimizer", "studies", "tests", "docs")
ELSEWHERE = ("engines/cpu", "docs/operators.md", "deployment.yaml", "calibration.json")
"""In a bundle, in onnx-tensorrt, in what is written for Kubernetes."""
BLOCK = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
of_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def is_there(name: str) -> bool:
    """Whether ``name`` is a file or folder from the root on, with or without ``.py``, or a name that a module has."""
    if (ROOT / name).exists():
        return True
    parts = re.split(r"[/.]", name)
    for count in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:count])
        if (file := place.with_name(f"{place.name}.py")).is_file() or (file := place / "__init__.py").is_file():
            text = file.read_text()
            return all(re.search(rf"\b{part}\b", text) for part in parts[count:])
    return False


def source_of(module: str) -> str:
    """What ``python -m module`` runs, and what lies beside it in a package; empty where it cannot be run."""
    place = ROOT.joinpath(*module.split("."))
    if (place / "__main__.py").is_file():
        return "".join(path.read_text() for path in sorted(place.glob("*.py")))
    file = place.with_suffix(".py")
    return file.read_text() if file.is_file() and "__main__" in file.read_text() else ""


def headings(page: Path) -> set[str]:
    """Anchors of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def spans(page: Path) -> list[str]:
    """What stands in a sentence as code; a line may end in it."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", BLOCK.sub("", page.read_text()))]


def commands(page: Path) -> Iterator[list[str]]:
    """Words of every command of ours or of a study that a page shows, in a block or in a sentence."""
    blocks = BLOCK.findall(page.read_text())
    lines = [line for block in blocks for line in re.sub(r"\s*\\\n\s*", " ", block).splitlines()]
    for line in (*lines, *spans(page)):
        words = re.sub(r"\s+#.*$|\s{3,}.*$|[\[\]…]", "", re.sub(r"^(\$ )?([A-Z_]+=\S+ )?", "", line.strip()))
        if re.match(r"(optimize|python -m studies)[ .]", words):
            yield shlex.split(words.split(" > ")[0].split("; ")[0])


@of_each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith("http"):
            name, _, anchor = target.partition("#")
            there = page.parent / name if name else page
            assert there.exists(), target
            assert not anchor or anchor in headings(there), target


@of_each_page
def test_files_and_modules_that_are_named_exist(page: Path) -> None:
    for span in spans(page):
        if re.fullmatch(rf"(?:{'|'.join(ROOMS)})(?:/[\w./-]+|(?:\.\w+)+)", span):
            assert span.startswith(ELSEWHERE) or is_there(span), span


@of_each_page
def test_commands_have_the_verbs_and_options_that_there_are(page: Path) -> None:
    verbs: dict[str, Any] = typer.main.get_command(application(isolate=False)).commands  # type: ignore[attr-defined]
    for words in commands(page):
        asked = {word.partition("=")[0] for word in words if re.match(r"--\w", word)} - {"--help"}
        if words[0] == "optimize":
            assert words[1] in verbs or words[1] == "--help" or words[1].endswith(".onnx"), words
            verb = verbs.get(words[1], verbs[MAIN_JOB])
            assert asked <= {name for option in verb.params for name in (*option.opts, *option.secondary_opts)}, words
        else:
            source = source_of(words[2])
            assert source and not [option for option in asked if f'"{option}"' not in source], words


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("engines/cuda", True),
        ("engines/cuda/runtime.py", True),
        ("engines/cuda/runtime", True),
        ("engines/cuda/runtime.md", False),
        ("engines/targets/target.resolve_targets", True),
        ("engines.targets.target.resolve_targets", True),
        ("engines/targets.resolve_targets", False),
        ("engines.targets.target.resolve_aims", False),
        ("studies.gpu_check.page", True),
        ("studies.gpu_check.pages", False),
    ],
)
def test_a_name_that_is_gone_is_found_out(name: str, there: bool) -> None:
    assert is_there(name) is there


def test_commands_stand_in_blocks_and_in_sentences(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "By `optimize\nverify BUNDLE` and `make`:\n```\n$ ZOO=zoo optimize m.onnx \\\n  --data d  # why\n"
        "python -m studies.x --a > out\nmake test\n```\n"
    )
    assert list(commands(page)) == [
        ["optimize", "m.onnx", "--data", "d"],
        ["python", "-m", "studies.x", "--a"],
        ["optimize", "verify", "BUNDLE"],
    ]
