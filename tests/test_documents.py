"""README and docs name what is there: pages and headings that they link to, files, modules, verbs and options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import pytest
import typer

import optimizer
from optimizer.cli.main import MAIN_JOB, application

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "studies").rglob("README.md"))]
ROOMS = ("graphs", "engines", "calibration", "benchmarks", "deployment", "optimizer", "studies", "tests", "docs")
ELSEWHERE = ("engines/cpu", "docs/operators.md", "deployment.yaml", "calibration.json")
"""In a bundle, in onnx-tensorrt, in what is written for Kubernetes."""
BLOCK = re.compile(r"```\w*\n(.*?)```", re.DOTALL)


def tracked() -> set[str]:
    """Files and folders of the rooms, relative to the root, files with and without their suffix."""
    found = set[str]()
    for room in ROOMS:
        for path in (ROOT / room).rglob("*"):
            name = path.relative_to(ROOT)
            found |= {str(name), str(name.with_suffix("")), *(str(parent) for parent in name.parents)}
    return found


def headings(page: Path) -> set[str]:
    """Anchors of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(page: Path) -> Iterator[list[str]]:
    """Words of every command of ours or of a study that a page shows, in a block or in a sentence."""
    text = page.read_text()
    lines = [line for block in BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    for line in (*lines, *re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))):
        words = re.sub(r"\s+#.*$|\s{3,}.*$|[\[\]…]", "", re.sub(r"^(\$ )?([A-Z_]+=\S+ )?", "", line.strip()))
        if re.match(r"(optimize|python -m studies)[ .]", words):
            yield shlex.split(words.split(" > ")[0].split("; ")[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith("http"):
            name, _, anchor = target.partition("#")
            there = page.parent / name if name else page
            assert there.exists(), target
            assert not anchor or anchor in headings(there), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_modules_that_are_named_exist(page: Path) -> None:
    known, text = tracked(), BLOCK.sub("", page.read_text())
    for name in re.findall(rf"`((?:{'|'.join(ROOMS)})/[\w./-]+)`", text):
        path = PurePath(name)
        assert name.startswith(ELSEWHERE) or {str(path), str(path.with_suffix(""))} & known, name
    for name in re.findall(rf"`((?:{'|'.join(ROOMS)})(?:\.\w+)+)`", text):
        parts = name.split(".")  # a class of a module, and its method, may follow
        module = any("/".join(parts[: len(parts) - more]) in known for more in range(3) if len(parts) - more > 1)
        public = parts[0] == "optimizer" and parts[1] in optimizer.__all__
        assert name in ELSEWHERE or module or public, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_have_the_verbs_and_options_that_there_are(page: Path) -> None:
    verbs: dict[str, Any] = typer.main.get_command(application(isolate=False)).commands  # type: ignore[attr-defined]
    known = tracked()
    for words in commands(page):
        if words[0] == "optimize":
            verb = verbs.get(words[1], verbs[MAIN_JOB])
            options = {name for option in verb.params for name in (*option.opts, *option.secondary_opts)}
            asked = {word.partition("=")[0] for word in words if re.match(r"--\w", word)}
            assert asked <= options | {"--help"}, words
        else:
            assert words[2].replace(".", "/") in known, words
