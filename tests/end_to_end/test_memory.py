"""Calibration streams: its peak memory does not grow with the number of samples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx

from tests.end_to_end.conftest import environment

SCRIPT = """
import resource, sys
from pathlib import Path
import numpy as np
from calibration.collect import collect
from calibration.ranges import choose_ranges
from calibration.sources.open import open_source
from engines.engine import TensorSpec

def images():
    rng = np.random.default_rng(0)
    for _ in range(int(sys.argv[1])):
        yield {"input": rng.standard_normal((3, 112, 112), dtype=np.float32)}

spec = TensorSpec("input", "float32", ("batch", 3, "height", "width"))
source = open_source(images, [spec])
found = collect(Path("cnn.onnx"), ["input", "first_relu", "sum_relu"], source.samples(), batchable=True)
table = choose_ranges(found, "entropy", model_digest="", data_digest="", calibrated=True)
assert table.samples == int(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_kib(folder: Path, samples: int) -> int:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(samples)],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def test_512_images_take_the_memory_of_32(folder: Path) -> None:
    model = folder / "cnn.onnx"
    loaded = onnx.load(model)
    for value in loaded.graph.input:
        for axis, name in ((2, "height"), (3, "width")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    onnx.save(loaded, model)
    assert peak_kib(folder, 512) <= 1.1 * peak_kib(folder, 32)
