"""A page in a real browser, where one is installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

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


needs_chromium = pytest.mark.skipif(BROWSER is None, reason="needs Chromium (Debian: apt-get install chromium)")


def opened(page: str, folder: Path, width: int) -> dict[str, Any]:
    """What the browser measured of ``page`` in a window of ``width`` pixels; no console message is accepted."""
    (folder / "probed.html").write_text(page.replace("</body>", PROBE), encoding="utf-8")
    (folder / "frame.html").write_text(FRAME % width, encoding="utf-8")
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={folder / 'profile'}", (folder / "frame.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    found = re.search(r"<pre>(.*?)</pre>", done.stdout)
    assert found is not None
    seen: dict[str, Any] = json.loads(found.group(1))
    return seen
