"""``optimize serve`` as a user starts it: where it listens, two signals, and what it says of wrong words."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prometheus_client")
pytest.importorskip("tritonclient")

import numpy as np
import tritonclient.http

from graphs.digests import sha256_file
from graphs.files import write_json
from optimizer.bundle import BundleManifest
from optimizer.cli.main import main
from tests.deployment.serving.conftest import times, write_bundle

COMMAND = [sys.executable, "-m", "optimizer.cli.main", "serve"]
FREE = ["--port", "0", "--grpc-port", "0"]


def sealed(folder: Path, factor: float) -> Path:
    write_bundle(folder, times(factor))
    files = {str(p.relative_to(folder)): sha256_file(p) for p in folder.rglob("*") if p.is_file()}
    write_json(folder / "manifest.json", BundleManifest("", "", "", "", {}, files))
    return folder


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    bundle = sealed(tmp_path / "twice.optimized", 2)
    words, pipe = [*COMMAND, str(bundle), *FREE], subprocess.PIPE
    command = subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True)
    try:
        assert command.stdout is not None
        line = command.stdout.readline()
        found = re.fullmatch(r"serving twice on http://(127\.0\.0\.1:\d+) and grpc://127\.0\.0\.1:\d+\n", line)
        assert found, line + (command.communicate()[1] if command.poll() is not None else "")
        yield command, found[1], bundle
    finally:
        command.kill()
        command.communicate()


def answer(address: str) -> Any:
    client = tritonclient.http.InferenceServerClient(address)
    tensor = tritonclient.http.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 4), np.float32))
    return client.infer("twice", [tensor]).as_numpy("y")[0, 0]


def test_sighup_takes_the_new_bundle_and_sigterm_ends(started: Any, tmp_path: Path) -> None:
    command, address, bundle = started
    assert answer(address) == 2
    shutil.rmtree(bundle)
    sealed(tmp_path / "new", 5).rename(bundle)
    command.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 20
    while answer(address) != 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert answer(address) == 5
    command.send_signal(signal.SIGTERM)
    _, said = command.communicate(timeout=20)
    assert command.returncode == 0
    assert said.count("model 'twice': version") == 2 and "stopping" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere"], 2, "no such bundle"),
        (["BUNDLE", "BUNDLE"], 2, "given twice"),
        (["BUNDLE", "--target", "t4"], 2, "no engine for 't4'"),
        (["BUNDLE", "--instances", "0"], 2, "--instances: 0 is too small"),
        (["BUNDLE", "--instances", "5000"], 2, "at most 256"),
        (["BUNDLE", "--max-memory", "1"], 2, "all together 1"),
        (["BUNDLE", "--host", "203.0.113.7"], 2, "cannot listen"),
        (["BUNDLE", "--token-file", "BUNDLE"], 2, "cannot be read"),
    ],
)
def test_wrong_words_are_one_message(
    tmp_path: Path, words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(sealed(tmp_path / "b.optimized", 2))
    given = [bundle if word == "BUNDLE" else word for word in words]
    with pytest.raises(SystemExit) as ended:
        main(["serve", *given, *FREE])
    assert ended.value.code == code and said in capsys.readouterr().err


def test_sigterm_ends_a_server_that_is_still_loading(tmp_path: Path) -> None:
    loading = """
        import asyncio, sys
        from deployment.serving.server import Server

        async def start(self):
            print("loading", flush=True)
            await asyncio.sleep(60)

        Server.start = start
        from optimizer.cli.main import main
        main()
    """
    words = [
        sys.executable,
        "-c",
        textwrap.dedent(loading),
        "serve",
        str(sealed(tmp_path / "twice.optimized", 2)),
        *FREE,
    ]
    command = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert command.stdout is not None
    assert command.stdout.readline() == "loading\n"
    command.send_signal(signal.SIGTERM)
    _, said = command.communicate(timeout=20)
    assert (command.returncode, said) == (0, "stopped before anything was served\n")
