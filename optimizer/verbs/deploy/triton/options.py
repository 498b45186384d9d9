"""The options of the command, read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from calibration.sources.rows import open_npz
from deployment.triton.repository.config import RateLimit
from deployment.triton.repository.ensemble import Around
from deployment.triton.repository.options import LARGEST
from deployment.triton.tuning.search import Goal
from graphs.errors import BadInput
from optimizer.settings.given import choice
from optimizer.settings.numbers_given import check_above_zero
from optimizer.verbs.deploy.triton.checking import RANDOM, CheckRequest
from optimizer.verbs.deploy.triton.image_files import SUFFIX
from optimizer.verbs.deploy.triton.tune import TuneRequest


def check_request(wanted: bool, server: str, data: str, evaluate: str) -> CheckRequest | None:
    """From the options of the command."""
    return CheckRequest(server, data or RANDOM, evaluate) if wanted else None


def parse_rate_limit(text: str) -> RateLimit | None:
    """``"memory=2,bus=1:3"``: what an instance takes, and its priority (1 where none is given). Raises ``BadInput``."""
    if not text:
        return None
    named = r"[\w.-]+=[1-9]\d*"
    match = re.fullmatch(rf"(?P<resources>{named}(?:,{named})*)(?::(?P<priority>\d+))?", text)
    if match is None:
        raise BadInput(f"{text!r} cannot be read", where="--rate-limit", expected="NAME=COUNT[,NAME=COUNT][:PRIORITY]")
    pairs = [part.split("=") for part in match["resources"].split(",")]
    taken, priority = {name: int(count) for name, count in pairs}, int(match["priority"] or 1)
    if len(taken) < len(pairs):
        raise BadInput(f"{text!r} names a resource twice", where="--rate-limit", fix="give each its count once")
    if max(*taken.values(), priority) > LARGEST:
        expected = f"{LARGEST:,} at most, as Triton's protocol has it"
        raise BadInput(f"{text!r} is too much", where="--rate-limit", expected=expected)
    return RateLimit(taken, priority)


def tune_request(optimize_for: str, bound: str, clients: int, seconds: float) -> TuneRequest | None:
    """From the options of the command; None where no goal is given. Raises ``BadInput``."""
    if not optimize_for:
        return None
    check_above_zero({"--clients": clients, "--tune-seconds": seconds})
    return TuneRequest(choice(Goal, optimize_for, "--optimize-for"), parse_milliseconds(bound), clients, seconds)


def parse_milliseconds(text: str) -> float | None:
    """``"20ms"``, ``"0.5 s"``, ``"800us"`` or milliseconds as a number; None for none. Raises ``BadInput``."""
    if not text:
        return None
    match = re.fullmatch(r"(?P<number>\d+(?:\.\d+)?) ?(?P<unit>us|ms|s)?", text.strip())
    if match is None or not float(match["number"]):
        raise BadInput(f"{text!r} is no time", where="--latency-bound", expected="a time above 0, such as 20ms")
    return float(match["number"]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[match["unit"] or "ms"]


def functions_around(before: str, after: str, raw: Sequence[Path]) -> Around | None:
    """From the options of the command; None where none is given. Raises ``BadInput``."""
    if not before and not after:
        return None
    if before.endswith(SUFFIX):
        if raw:
            raise BadInput("changes nothing: clients send image files", where="--raw", fix="leave it out")
        return Around(before, after, {})
    if not raw:
        raise BadInput(
            "needs a sample of what clients send", where="--preprocess, --postprocess", fix="add --raw FILE.npz"
        )
    first, *more = ({name: next(rows.blocks(None)) for name, rows in open_npz(file).items()} for file in raw)
    return Around(before, after, first, more=tuple(more))
