"""``python -m studies.sparsity.prune MODEL.onnx -o OUT.onnx [--samples 4]``: one model pruned on seeded random inputs.

For a look at memory and time on a model of your own, or on one over 2 GB:

    python -m studies.large_model -- python -m studies.sparsity.prune MODEL -o OUT.onnx
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

import onnx_ir as ir

from calibration.sources.open import open_source
from graphs.reading.macs import count_macs, total_macs
from graphs.reading.two_four import two_four_products
from graphs.storage.saving import save_model
from optimizer.importing import import_model
from optimizer.passes.clean import clean
from optimizer.sparsity.sparsify import How, sparsify
from optimizer.sparsity.stored import SolvedWeights
from optimizer.stages.data.index_limits import integer_bounds, size_inputs
from optimizer.stages.data.inputs import model_inputs


def main() -> int:
    """Prune, write, read back and say what was found there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=4)
    options = parser.parse_args()
    if options.samples < 1:
        parser.error("--samples: 1 or more")
    model = import_model(options.model).model
    clean(model)
    specs = model_inputs(model)
    source = open_source(
        "random", specs, samples=options.samples, integer_bounds=integer_bounds(model), sizes=size_inputs(model)
    )
    feeds = list(source.samples())
    macs = total_macs(count_macs(model, {name: array.shape for name, array in feeds[0].items()}))
    start = time.perf_counter()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out.parent) as scratch:
        made = sparsify(model, feeds, How(macs, store=SolvedWeights(model, Path(scratch)).keep))
        save_model(made.model, options.out)
    print(f"pruned in {time.perf_counter() - start:.0f} s, {time.process_time():.0f} s of processor time in all")
    claimed = {name for name, node in made.nodes.items() if node.sparse}
    print(f"{len(two_four_products(ir.load(options.out)) & claimed)} of {len(claimed)} weights are 2:4 in the file")
    solved = Counter(node.error is not None for node in made.nodes.values() if node.sparse)
    print(f"{solved[True]} solved for, {solved[False]} by magnitude")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
