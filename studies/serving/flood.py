"""Ten times what the server can answer, by clients that never wait: what is refused, what memory it takes, and how soon
it is itself again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np
import tritonclient.http

from deployment.served_engine import read_served_engines
from studies.serving.ours import NAME, Ours, serving
from studies.serving.swap import tensor
from studies.serving.throughput import feed_of

AT_ONCE = 16
"""``--max-requests`` of the server in this study."""
TIMES = 10  # the clients that the server answers at once


@dataclass
class Seen:
    """Answers by status, refusals that say when to come again, and seconds of those answered with 200."""

    codes: Counter[int] = field(default_factory=Counter)
    honest: int = 0
    seconds: list[float] = field(default_factory=list)


def measure(bundle: Path, seconds: float, rows: int) -> Iterator[str]:
    """Lines about requests of ``rows`` samples: at capacity, in a flood, and right after it."""
    (served,) = read_served_engines(bundle, ["cpu"])
    feed = {name: np.repeat(array, rows, 0) for name, array in feed_of(served.manifest.inputs).items()}
    body, header = tritonclient.http.InferenceServerClient.generate_request_body(
        [tensor(tritonclient.http, name, array) for name, array in feed.items()]
    )
    headers = {"Inference-Header-Content-Length": str(header)} if header else {}
    with serving(bundle, "--max-requests", str(AT_ONCE)) as ours:
        usual = asyncio.run(_ask(ours, body, headers, AT_ONCE, seconds))
        before = ours.process.peak_mib()
        flood = asyncio.run(_ask(ours, body, headers, AT_ONCE * TIMES, seconds))
        after = ours.process.peak_mib()
        began = time.monotonic()
        again = asyncio.run(_ask(ours, body, headers, AT_ONCE, 1.0))
        recovered = again.seconds[0] if again.seconds else time.monotonic() - began
    yield f"requests of {rows} samples, {len(body):,} bytes; at most {AT_ONCE} served at once"
    yield _line(f"{AT_ONCE} clients", usual, seconds)
    yield _line(f"{AT_ONCE * TIMES} clients that never wait", flood, seconds)
    offered = flood.codes.total() / max(usual.codes[200], 1)
    refused = flood.codes[429] + flood.codes[503]
    yield f"  offered {offered:.1f} times what was answered at capacity"
    yield f"  {flood.honest:,} of {refused:,} refusals say Retry-After"
    yield f"  largest memory {before:.0f} MiB before, {after:.0f} MiB after"
    yield _line("right after it", again, 1.0)
    yield f"  the first answer after {recovered * 1e3:.0f} ms"


def _line(what: str, seen: Seen, seconds: float) -> str:
    codes = ", ".join(f"{count:,} × {code}" for code, count in sorted(seen.codes.items()))
    p50, p99 = (np.percentile(seen.seconds or [np.nan], percent) * 1e3 for percent in (50, 99))
    return f"  {what}: {seen.codes[200] / seconds:,.0f} answers/s ({codes}), p50 {p50:.1f} ms, p99 {p99:.1f} ms"


async def _ask(ours: Ours, body: bytes, headers: dict[str, str], clients: int, seconds: float) -> Seen:
    seen, until = Seen(), time.monotonic() + seconds
    url = f"http://{ours.http}/v2/models/{NAME}/infer"

    async def client(session: aiohttp.ClientSession) -> None:
        while (started := time.monotonic()) < until:
            async with session.post(url, data=body, headers=headers) as answer:
                await answer.read()
                seen.codes[answer.status] += 1
                seen.honest += answer.status in (429, 503) and "Retry-After" in answer.headers
                if answer.status == 200:
                    seen.seconds.append(time.monotonic() - started)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    return seen
