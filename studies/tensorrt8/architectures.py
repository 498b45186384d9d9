"""Architectures in the form for TensorRT 8: ``python -m studies.tensorrt8.architectures FOLDER``.

``FOLDER`` holds what ``studies.breadth.architectures export`` writes: ``NAME.onnx``, and inputs in ``NAME.npz``. Each
is typed in FP16, lowered, and run beside the typed graph with all in FP32.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from optimizer.settings.options import Precision
from studies.breadth.architectures import few_rows
from studies.tensorrt8.judging import Tally, judged


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="these alone")
    parser.add_argument("--precision", choices=["fp32", "fp16", "int8"], default="fp16")
    asked = parser.parse_args(arguments)
    tally = Tally()
    for path in sorted(asked.folder.glob("*.onnx")):
        if not asked.names or path.stem in asked.names:
            tally.add(path.stem, judged(path, Precision(asked.precision), [few_rows(path.with_suffix(".npz"))]))
    tally.show()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
