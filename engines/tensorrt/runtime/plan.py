"""Loading a plan: whether this GPU can run it, and the engine in it or the reason why there is none."""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import EngineError
from engines.tensorrt.differences import allow_host_code
from engines.tensorrt.library import Library, errors_heard
from engines.tensorrt.plan_header import read_header
from engines.tensorrt.plugins import load_plugins
from engines.tensorrt.starting import new_runtime

_OTHER_VERSION = re.compile(r"Version tag does not match\. Note: Current Version: \d+, Serialized Engine Version: \d+")
"""What TensorRT 8 says of another version's plan, which bears no version in its first bytes; the numbers are its
own."""


@dataclass(frozen=True)
class Validity:
    """What ``get_engine_validity`` says of a plan on this GPU: valid, suboptimal, invalid, or unknown (not asked)."""

    state: str
    reasons: tuple[str, ...] = ()


def deserialize(
    library: Library,
    plan: Path,
    *,
    host_code: bool = False,
    plugins: Iterable[str] = (),
    version_compatible: bool = False,
) -> tuple[Any, Any]:
    """(``trt.Runtime``, ``ICudaEngine``) of a plan. TensorRT answers None for a plan it refuses; here that raises.

    ``plugins`` are libraries with the custom operators of the plan; ``version_compatible`` says how it was built.
    """
    require_readable(library, plan, version_compatible=version_compatible)
    owner = new_runtime(library)
    allow_host_code(library, owner, host_code)
    load_plugins(library, owner, plugins)
    with errors_heard() as messages:
        validity = engine_validity(library, plan, owner)
        engine = with_mapped(plan, owner.deserialize_cuda_engine)
    if engine is None and "unsupported cc" in validity.reasons:
        raise EngineError(
            f"{library.title} does not run on this GPU: {'; '.join(dict.fromkeys(messages)) or 'unsupported cc'}",
            where=str(plan),
            expected="a compute capability that this library knows",
            fix="use TensorRT itself: pip install 'enginewright[tensorrt]', and optimize MODEL.onnx --target native",
        )
    if engine is None:
        reasons = [*validity.reasons, *dict.fromkeys(map(_in_words, messages))]
        raise EngineError(
            f"{library.title} could not load the plan: {'; '.join(reasons) or 'no reason given'}",
            where=str(plan),
            expected="a plan built by this very version for this GPU",
            fix="rebuild it here: optimize MODEL.onnx --target native",
        )
    return owner, engine


def require_readable(library: Library, plan: Path, *, version_compatible: bool = False) -> None:
    """Raise ``EngineError`` for a plan that another library or version wrote, before this library sees it: it would
    answer with a line in its log, or crash. A file whose first bytes are not known is left to the library.
    """
    _require_content(plan)
    try:
        header = read_header(plan)
    except EngineError:
        return
    built, here = header.version.split(".")[:3], library.version.split(".")[:3]
    of_it = "tensorrt_rtx" if library.name == "tensorrt_rtx" else "tensorrt"  # the lean runtime reads TensorRT's
    fits = header.library == of_it and (not header.version or built == here)
    if version_compatible and header.library == of_it:
        fits = not header.version or built[0] == here[0]
    if not fits:
        raise EngineError(
            f"the plan was built by {header.library} {header.version}".rstrip() + f", and here is {library.title}",
            where=str(plan),
            expected="a plan built by this very version for this GPU",
            fix="rebuild it here (optimize MODEL.onnx --target native), or install the version that built it",
        )


def stream_weights(library: Library, engine: Any, budget_mb: int | None, plan: Path) -> None:
    """Keep at most ``budget_mb`` MiB of weights on the GPU and stream the rest; None keeps all there.

    Raises ``EngineError`` for a plan that cannot stream. To be called before a context is made.
    """
    if budget_mb is None:
        return
    if not library.capabilities.weight_streaming or int(engine.streamable_weights_size) == 0:
        raise EngineError(
            "the plan's weights cannot be streamed",
            where=str(plan),
            fix="rebuild with --builder-option weight_streaming=on",
        )
    engine.weight_streaming_budget_v2 = budget_mb << 20


def engine_validity(library: Library, plan: Path, owner: Any = None) -> Validity:
    """Whether this GPU can run ``plan``, asked before loading it. Only TensorRT-RTX can tell; others: ``unknown``."""
    if not library.capabilities.engine_validity:
        return Validity("unknown")
    runtime = owner or new_runtime(library)
    state, bits = with_mapped(plan, runtime.get_engine_validity)
    known = library.module.EngineInvalidityDiagnostics.__members__
    reasons = tuple(name.lower().replace("_", " ") for name, flag in known.items() if int(bits) & int(flag.value))
    return Validity(str(state).rpartition(".")[2].lower(), reasons)


def with_mapped(plan: Path, use: Callable[[Any], Any]) -> Any:
    """Call ``use`` with the file's bytes mapped, not read: a plan is as large as its weights."""
    _require_content(plan)
    with plan.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return use(mapped)


def _require_content(plan: Path) -> None:
    if not plan.is_file():
        raise EngineError("no such file", where=str(plan))
    if plan.stat().st_size == 0:
        raise EngineError("the plan is empty", where=str(plan), fix="rebuild it")


def _in_words(message: str) -> str:
    return "it was built by another version of TensorRT" if _OTHER_VERSION.search(message) else message
