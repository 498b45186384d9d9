"""How numbers read, in the page and in the terminal alike. ``None`` always reads as a dash: not measured."""

from __future__ import annotations

import math

from benchmarks.report.model import OutputFidelity

MISSING = "–"


def significant(value: float | None, digits: int = 3) -> str:
    """``1234.5`` -> ``1,234``; ``12.345`` -> ``12.3``; ``0.001234`` -> ``0.00123``."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}" if decimals <= 6 else f"{value:.{digits - 1}e}"


def count(value: float | None) -> str:
    """``11_173_962`` -> ``11.2 M``."""
    return MISSING if value is None else _scaled(float(value), 1000, ["", "K", "M", "G", "T", "P"])


def size(value: float | None) -> str:
    """Bytes in binary units: ``1536`` -> ``1.50 KiB``."""
    return MISSING if value is None else _scaled(float(value), 1024, ["B", "KiB", "MiB", "GiB", "TiB"])


def _scaled(value: float, base: int, units: list[str]) -> str:
    power = 0
    while abs(value) >= base and power < len(units) - 1:
        value, power = value / base, power + 1
    number = f"{value:.0f}" if power == 0 else significant(value)
    return f"{number} {units[power]}".rstrip()


def milliseconds(value: float | None) -> str:
    """``0.0123`` -> ``12.3 µs``; ``1.5`` -> ``1.50 ms``; ``2500`` -> ``2.50 s``."""
    if value is None or value == 0:
        return MISSING if value is None else "0 ms"
    if value < 0.1:
        return f"{significant(value * 1e3)} µs"
    return f"{significant(value)} ms" if value < 1000 else f"{significant(value / 1e3)} s"


def seconds(value: float | None) -> str:
    """``75`` -> ``1 min 15 s``; ``3.21`` -> ``3.2 s``."""
    if value is None:
        return MISSING
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"


def rate(value: float | None) -> str:
    """Samples per second."""
    return MISSING if value is None else f"{significant(value)} /s"


def ratio(value: float | None) -> str:
    """``2.314`` -> ``2.31×``."""
    return MISSING if value is None else f"{value:.2f}×"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction: ``0.937`` -> ``93.7 %``; all of it is ``100 %``, and nothing is rounded up to that or down to 0."""
    if value is None:
        return MISSING
    if value == 1:
        return "100 %"
    shown = f"{value * 100:.{digits}f}"
    step = 10.0**-digits
    if value < 1 and float(shown) == 100:
        shown = f"> {100 - step:.{digits}f}"
    elif value > 0 and float(shown) == 0:
        shown = f"< {step:.{digits}f}"
    return f"{shown} %"


def decibels(fidelity: OutputFidelity | None) -> str:
    """SQNR; ``exact`` where the output is bit-equal to FP32, ``failed`` where its figures must not be trusted."""
    if fidelity is None:
        return MISSING
    if fidelity.failure:
        return "failed"
    if fidelity.exact:
        return "exact"
    return MISSING if fidelity.sqnr_db is None else f"{fidelity.sqnr_db:.1f} dB"


def cosine(value: float | None) -> str:
    """Enough decimals to tell a good cosine from a perfect one: ``0.99987``."""
    return MISSING if value is None else f"{value:.5f}"


def digest(value: str) -> str:
    """The first 12 hex digits; enough to tell files apart."""
    return value.removeprefix("sha256:")[:12] or MISSING


def status_title(status: str) -> str:
    """The verdict's headline for a report status."""
    return {
        "ok": "Done, within budget",
        "over_budget": "Accuracy budget not met",
        "partial": "Done for some targets only",
        "invalid": "The LoadGen run is invalid",
    }.get(status, status)
