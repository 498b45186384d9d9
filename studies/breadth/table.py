"""The table of docs/breadth.md: ``python -m studies.breadth.table ROWS.jsonl … [--out docs/breadth.md]``.

Everything between the two markers of the page is written anew; the words around it are kept.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from studies.breadth.row import Outcome, Row, read

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
RANDOM, BACKEND = "random graphs", "backend"
_LONGEST = 200  # characters of a reason in the page
POOR_DB = 20.0  # an INT8 form below this is named
_MOST = 40  # kinds of refusals in the page
_FOLDER = re.compile(r"\S*/(?=[^/\s]+\.(?:onnx|npz)\b)|/\S*/backend-\w+/")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=Path, nargs="+", help="JSON lines that the studies wrote")
    parser.add_argument("--out", type=Path, default=None, help="the page to write into; standard output without it")
    asked = parser.parse_args(arguments)
    text = render([row for path in asked.rows for row in read(path)])
    if asked.out is None:
        print(text)
    else:
        write_into(asked.out, text)
    return 0


def write_into(page: Path, text: str) -> None:
    """Put ``text`` between the markers of ``page``."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{page} has no {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def render(rows: Sequence[Row]) -> str:
    """The counts by study and kind, then what was refused, wrong or crashed, and why."""
    parts = [_counts(rows), *_judges(rows), *_contradicted(rows), *_in_int8(rows), *_architectures(rows)]
    for outcome in (Outcome.CRASHED, Outcome.WRONG):
        if found := [row for row in rows if row.outcome is outcome]:
            parts.append(f"**{outcome.value.capitalize()}**\n\n" + "\n".join(_item(row) for row in found))
    if refused := [row for row in rows if row.outcome is Outcome.REFUSED]:
        parts.append("**Refused, by reason**\n\n" + _reasons(refused))
    return "\n\n".join(parts)


def _counts(rows: Sequence[Row]) -> str:
    lines = [
        "| study | kind | tried | works | refused with reason | wrong | crashed |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    kinds: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        kind = f"{row.kind}, {row.precision}" if row.study.startswith(BACKEND) else row.kind
        kinds[row.study, kind].append(row)
    for (study, kind), members in kinds.items():
        lines.append(f"| {study} | {kind} | {_cells(members)} |")
    lines.append(f"| **all** | | {_cells(rows)} |")
    return "\n".join(lines)


def _judges(rows: Sequence[Row]) -> list[str]:
    """Who judged the typed graphs, by study; none where the rows do not say."""
    lines = []
    for study in dict.fromkeys(row.study for row in rows if row.judge):
        counts = Counter(row.judge for row in rows if row.study == study and row.judge)
        lines.append(f"- {study}: `model.onnx` judged by " + ", ".join(f"{who} {n}" for who, n in counts.most_common()))
    return ["\n".join(lines)] if lines else []


def _contradicted(rows: Sequence[Row]) -> list[str]:
    """Backend tests whose outputs ONNX Runtime contradicts on the model as given."""
    names = dict.fromkeys(f"`{row.name}`" for row in rows if row.study == BACKEND and row.judge == "onnxruntime")
    listed = ", ".join(names)
    return [f"- ONNX Runtime itself answers otherwise than the test, and its answers judge: {listed}"] if names else []


def _in_int8(rows: Sequence[Row]) -> list[str]:
    """How many of the random graphs that were asked for INT8 have some, and what they lose."""
    drawings: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.study == RANDOM and row.precision in ("int8", "auto") and row.int8_mac_share is not None:
            drawings[row.kind].append(row)
    lines = []
    for kind, members in drawings.items():
        found = [row for row in members if row.int8_mac_share]
        line = f"- random graphs, {kind}: {len(found)} of {len(members)} have MACs in INT8"
        low = sorted(min(row.judged_db, 99.0) for row in found if row.judged_db is not None)
        if low:
            line += f"; their `model.onnx` is judged at {low[0]:.1f} to {low[-1]:.1f} dB, median "
            line += f"{median(low):.1f} dB, {sum(db < POOR_DB for db in low)} below {POOR_DB:.0f} dB"
        lines.append(line)
    return ["\n".join(lines)] if lines else []


def _architectures(rows: Sequence[Row]) -> list[str]:
    """The slowest architectures, the least accurate, and the CPU forms that lie furthest below the typed ones."""
    nets = [row for row in rows if row.study == "architectures" and row.sqnr_db is not None]
    if not nets:
        return []
    slow = sorted(nets, key=lambda row: row.cpu_seconds, reverse=True)[:3]
    poor = sorted((row for row in nets if (row.sqnr_db or 0.0) < POOR_DB), key=lambda row: row.sqnr_db or 0.0)
    apart = sorted(nets, key=_apart, reverse=True)[:3]
    lines = [
        "- most CPU seconds, children included: " + ", ".join(f"`{r.name}` {r.cpu_seconds:.0f} s" for r in slow),
        f"- below {POOR_DB:.0f} dB: " + (", ".join(f"`{r.name}` {r.sqnr_db:.1f} dB" for r in poor) or "none"),
        "- the CPU's INT8 form furthest below the typed one: "
        + ", ".join(f"`{r.name}` {r.sqnr_db:.1f} and {r.cpu_db:.1f} dB" for r in apart if r.cpu_db is not None),
    ]
    return ["\n".join(lines)]


def _apart(row: Row) -> float:
    return 0.0 if row.sqnr_db is None or row.cpu_db is None else row.sqnr_db - row.cpu_db


def _cells(rows: Sequence[Row]) -> str:
    counts = Counter(row.outcome for row in rows)
    return " | ".join(str(number) for number in (len(rows), *(counts[outcome] for outcome in Outcome)))


def _item(row: Row) -> str:
    return f"- {row.study}, `{row.name}` ({row.precision}): {_short(row.reason)}"


def _reasons(rows: Sequence[Row]) -> str:
    """One line for each reason, the most frequent first, with an example."""
    alike: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        alike[_without_names(row.reason)].append(row)
    ordered = sorted(alike.values(), key=len, reverse=True)
    lines = [f"| {len(members)} | `{members[0].name}` | {_cell(members[0].reason)} |" for members in ordered[:_MOST]]
    if rest := ordered[_MOST:]:
        lines.append(f"| {sum(map(len, rest))} | | for {len(rest)} other reasons |")
    return "\n".join(["| models | for example | reason |", "|--:|---|---|", *lines])


def _without_names(reason: str) -> str:
    """The reason without what differs from model to model: paths, node names, numbers."""
    return re.sub(r"'[^']*'|\S*/\S*|\d+|^\S+: ", "", reason)


def _cell(text: str) -> str:
    return _short(text).replace("|", "\\|")


def _short(text: str) -> str:
    line = _FOLDER.sub("", " ".join(text.split()))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


if __name__ == "__main__":
    raise SystemExit(main())
