"""Figures of engine builds on this machine, no GPU needed.

    python -m studies.builds plans [--network resnet50,bert_base] [--precision fp16,int8] [--json OUT]
    python -m studies.builds large [--gigabytes 2.9]
    python -m studies.builds kills [--kills 50] [--seed 0]

``plans`` prints Markdown tables of build seconds, plan bytes and kernels; ``large`` the peak memory of building a model
beyond protobuf's 2 GiB, and exits 1 above 3.5 times its size; ``kills`` ends builds with SIGKILL at random moments and
exits 1 if a wrong or partial engine was ever left, cached or loaded.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from studies.builds.networks import NETWORKS


def main() -> int:
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="engines-") as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        work = {"plans": _plans, "large": _large, "kills": _kills}[options.what]
        return work(options, folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m studies.builds", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("plans", "large", "kills"))
    parser.add_argument("--folder", type=Path, help="keep everything here; by default a folder that is removed")
    parser.add_argument("--network", default=",".join(NETWORKS))
    parser.add_argument("--precision", default="fp16,int8")
    parser.add_argument("--json", type=Path, help="plans: write every figure here, too")
    parser.add_argument("--gigabytes", type=float, default=2.9)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _plans(options: argparse.Namespace, folder: Path) -> int:
    from graphs.files import write_json
    from studies.builds.matrix import run_matrix
    from studies.builds.tables import kernel_table, plan_table, run_table

    runs, plans = run_matrix(options.network.split(","), options.precision.split(","), folder)
    if options.json:
        write_json(options.json, {"runs": runs, "plans": plans})
    _say("\n\n".join((run_table(runs), plan_table(plans), kernel_table(plans))))
    return 0


def _large(options: argparse.Namespace, folder: Path) -> int:
    from studies.builds.large import LIMIT, build_large

    found = build_large(int(options.gigabytes * 1e9), folder)
    _say(str(found))
    return int(found.times > LIMIT)


def _kills(options: argparse.Namespace, folder: Path) -> int:
    from studies.builds.kills import run_kills

    found = run_kills(options.kills, options.seed, folder, _say)
    _say(str(found))
    return int(bool(found.wrong))


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
