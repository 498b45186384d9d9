"""One quantization in a process of its own: writes the quantized model and ``cost.json`` beside it."""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

from graphs.files import write_json
from studies.baselines.results import Cost
from studies.baselines.task import load_task
from studies.baselines.tool import Request, load_tool

MEMORY_LIMIT = 16 * 2**30  # bytes: a tool that takes more than a workstation has is out


def main() -> None:
    arguments = _arguments()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    task = load_task(arguments.model, arguments.zoo, arguments.cache)
    feeds = task.calibration(arguments.quick)
    tool = load_tool(arguments.tool)
    tool.load()
    model = arguments.zoo / arguments.model / "model.onnx"
    request = Request(model, feeds, arguments.out, arguments.configuration, task.transformer)
    before, start = _restart_peak(), time.perf_counter()
    tool.quantize(request)
    seconds = time.perf_counter() - start
    write_json(arguments.out.with_suffix(".cost.json"), Cost(seconds, (_peak() - before) / 1e6, len(feeds)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("tool")
    parser.add_argument("configuration")
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


def _restart_peak() -> int:
    """Set the kernel's high-water mark of this process to what it holds now, and return that in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM: peak memory is read on Linux only")


if __name__ == "__main__":
    main()
