"""``python -m studies.serving throughput|flood BUNDLE`` and ``swap BUNDLE OTHER``: the figures of docs/serving.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from graphs.errors import EnginewrightError


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.serving")
    parser.add_argument("what", choices=("throughput", "swap", "flood"))
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rows", type=int, default=32)
    given = parser.parse_args()
    if given.what == "throughput":
        from studies.serving import throughput

        lines = throughput.measure(given.bundles[0], given.seconds, given.rounds, lambda t: print(t, file=sys.stderr))
    elif given.what == "flood":
        from studies.serving import flood

        lines = flood.measure(given.bundles[0], given.seconds, given.rows)
    else:
        from studies.serving import swap

        if len(given.bundles) != 2:
            parser.error("swap needs two bundles of one model")
        lines = swap.measure((given.bundles[0], given.bundles[1]), given.requests, given.clients)
    try:
        for line in lines:
            print(line, flush=True)
    except EnginewrightError as error:
        parser.exit(error.exit_code, f"{error}\n")


if __name__ == "__main__":
    main()
