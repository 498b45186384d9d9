"""Ten thousand requests while a bundle is exchanged again and again: is each answered, and by one version?"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http

from deployment.served_engine import read_served_engines
from deployment.serving.version import version_of
from engines.engine import Array
from engines.open import open_engine
from graphs.errors import BadInput
from studies.serving.ours import NAME, serving
from studies.serving.throughput import feed_of

NEAR = 1e-3
"""An answer is a version's own where it differs by less than this share of the largest value: float sums of another
batch size differ by 1e-6 of it, an INT8 graph from its FP32 one by 1e-2."""
SWAP_EVERY = 0.5
"""Seconds between two exchanges. Chosen: more than a load takes."""


def measure(bundles: tuple[Path, Path], requests: int, clients: int) -> Iterator[str]:
    """What came of ``requests`` over both protocols, while ``optimize serve`` goes from one bundle to the other."""
    answers = {}
    for bundle in bundles:
        (served,) = read_served_engines(bundle, ["cpu"])
        with open_engine(served.folder) as engine:
            feed = feed_of(engine.inputs)
            answers[version_of(served)] = engine.infer(feed)
    output = next(iter(next(iter(answers.values()))))
    known = {version: value[output] for version, value in answers.items()}
    if any(len(_near(value, known)) != 1 for value in known.values()) or len(known) < 2:
        what = "both give the same answers, which do not tell who gave them"
        raise BadInput(what, where=" ".join(map(str, bundles)), expected="bundles that differ, INT8 and FP32")
    seen, left = Counter[str](), iter(range(requests))
    lock = threading.Lock()
    with TemporaryDirectory() as folder:
        place = Path(folder) / "bundle"
        place.symlink_to(bundles[0].resolve())
        with serving(place) as ours:

            def ask(library: Any, address: str) -> None:
                client = library.InferenceServerClient(address)
                inputs = [tensor(library, name, array) for name, array in feed.items()]
                while True:
                    with lock:
                        if next(left, None) is None:
                            return
                    try:
                        answer = client.infer(NAME, inputs)
                        head = answer.get_response()
                        version = head["model_version"] if isinstance(head, dict) else head.model_version
                        said = _judged(answer.as_numpy(output), version, known)
                    except Exception as error:
                        said = f"lost: {error}"[:100]
                    with lock:
                        seen[said] += 1

            kinds = [(tritonclient.http, ours.http), (tritonclient.grpc, ours.grpc)]
            threads = [threading.Thread(target=ask, args=kinds[n % 2]) for n in range(clients)]
            began = time.monotonic()
            for thread in threads:
                thread.start()
            swaps = 0
            control = tritonclient.http.InferenceServerClient(ours.http, network_timeout=60)
            while any(thread.is_alive() for thread in threads):
                time.sleep(SWAP_EVERY)
                swaps += 1
                fresh = place.with_name("next")
                fresh.symlink_to(bundles[swaps % 2].resolve())
                fresh.replace(place)
                control.load_model(NAME)
            took = time.monotonic() - began
    yield f"{requests:,} requests of {clients} clients over HTTP and gRPC, {swaps} exchanges in {took:.1f} s:"
    yield from (f"  {count:6,} {said}" for said, count in sorted(seen.items()))
    yield f"  {sum(count for said, count in seen.items() if not said.startswith('own')):6,} lost or mixed"


def _judged(found: Array, version: str, known: dict[str, Array]) -> str:
    near = _near(found, known)
    return f"own answers of version {version}" if near == [version] else f"mixed: {version} gave the answers of {near}"


def _near(found: Array, known: dict[str, Array]) -> list[str]:
    """The versions whose answer ``found`` is."""
    scale = max(float(np.abs(value).max()) for value in known.values())
    return [name for name, value in known.items() if float(np.abs(found - value).max()) < NEAR * scale]


def tensor(library: Any, name: str, array: Array) -> Any:
    """An input as ``library`` (``tritonclient.http`` or ``.grpc``) sends it, as raw bytes."""
    from tritonclient.utils import np_to_triton_dtype

    made = library.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return made.set_data_from_numpy(array)
