"""The page in a real browser, where one is installed: no console message, no overflow at 1280 and 400 pixels."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.report.extras import Extras
from benchmarks.report.model import Report
from benchmarks.report.page import render_page

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--allow-file-access-from-files",
    "--virtual-time-budget=3000",
    "--dump-dom",
]
PROBE = """<script>addEventListener("load", () => {
  const root = document.documentElement;
  const charts = [...document.querySelectorAll("svg.chart")].map(chart => chart.getBoundingClientRect().width);
  const text = Math.min(...[...document.querySelectorAll("svg.chart text")].map(t => t.getBoundingClientRect().height));
  parent.postMessage({width: root.clientWidth, content: root.scrollWidth, charts, text}, "*");
});</script></body>"""
FRAME = """<pre></pre><script>onmessage = event => {
  document.querySelector("pre").textContent = JSON.stringify(event.data);
};</script><iframe src="probed.html" width="%d" height="900"></iframe>"""


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_and_its_charts_are_readable(report: Report, extras: Extras, tmp_path: Path, width: int) -> None:
    (tmp_path / "probed.html").write_text(render_page(report, extras).replace("</body>", PROBE), encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME % width, encoding="utf-8")
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "frame.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    found = re.search(r"<pre>(.*?)</pre>", done.stdout)
    assert found is not None
    seen = json.loads(found.group(1))
    assert seen["content"] <= seen["width"]
    assert len(seen["charts"]) == 2
    assert min(seen["charts"]) >= 340
    assert seen["text"] >= 9
