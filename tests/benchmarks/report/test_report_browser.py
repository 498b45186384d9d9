"""The page in a real browser, where one is installed: no console message, no overflow at 1280 and 400 pixels."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.report.extras import Extras
from benchmarks.report.model import Report
from benchmarks.report.page import render_page
from tests.benchmarks.report.browser import BROWSER, FLAGS, needs_chromium, opened

SHOT_HEIGHT = 2400
SHOT = """<body style="margin:0"><iframe src="page.html" width="%d" height="%d" style="border:0"></iframe>"""


@needs_chromium
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_and_its_charts_are_readable(report: Report, extras: Extras, tmp_path: Path, width: int) -> None:
    seen = opened(render_page(report, extras), tmp_path, width)
    assert seen["content"] <= seen["width"]
    assert len(seen["charts"]) == 3
    assert min(seen["charts"]) >= 340
    assert seen["text"] >= 9


@needs_chromium
@pytest.mark.parametrize("width", [400, 1280])
def test_a_screenshot_is_drawn_from_edge_to_edge(report: Report, extras: Extras, tmp_path: Path, width: int) -> None:
    """A page that failed to render is all one colour; a drawn one has many and no single one of them everywhere."""
    picture = screenshot(render_page(report, extras), tmp_path, width)
    assert picture.size == (width, SHOT_HEIGHT)
    colours = picture.convert("RGB").getcolors(maxcolors=1 << 22)
    assert colours is not None and len(colours) > 200
    share = max(count for count, _ in colours) / (width * SHOT_HEIGHT)
    assert share < 0.97


def screenshot(page: str, folder: Path, width: int) -> Image.Image:
    (folder / "page.html").write_text(page, encoding="utf-8")
    # Chromium's window is at least 500 pixels wide, so a narrow page is drawn in a frame and cut out.
    (folder / "shot.html").write_text(SHOT % (width, SHOT_HEIGHT), encoding="utf-8")
    target = folder / "shot.png"
    flags = [flag for flag in FLAGS if flag != "--dump-dom"]
    command = [
        str(BROWSER),
        *flags,
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size=1300,{SHOT_HEIGHT + 100}",
        f"--screenshot={target}",
        (folder / "shot.html").as_uri(),
    ]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    with Image.open(target) as image:
        return image.crop((0, 0, width, SHOT_HEIGHT))
