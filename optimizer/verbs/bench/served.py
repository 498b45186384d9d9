"""Whether the model that a server serves is the bundle's: its tensors, and its answers beside what runs here."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import combinations, islice
from pathlib import Path

import numpy as np

from deployment.triton.server.served import as_engine
from engines.apart.opening import open_apart
from engines.engine import Array, Engine, EngineBase, Feed, TensorSpec
from engines.errors import BuildError, EngineElsewhere, EngineError
from engines.kserve import KserveEngine
from engines.manifest import EngineManifest
from engines.onnxruntime.engine import OnnxRuntimeEngine
from engines.open import open_engine
from graphs.errors import BadInput, in_a_line
from optimizer.bundle import MANIFEST, MODEL, Bundle
from optimizer.verbs.usual_inputs import usual_inputs

SAMPLES = 4
"""Made-up samples that are sent. Chosen."""
SAME = 1e-3
"""Noise relative to the signal (30 dB) up to which answers are one engine's own, as ``deploy --check`` has it."""
APART = 2.0
"""The served answers may be this many times as far, in power, from the nearest of the bundle's graphs that run here as
those are from one another: which of its engines is served is not known. Chosen."""
Interface = tuple[Sequence[TensorSpec], Sequence[TensorSpec]]
Answers = Sequence[dict[str, Array]]


def check_served(path: Path, source: str) -> list[str]:
    """Raise ``BadInput`` where ``source`` (``grpc://HOST:PORT/MODEL``) serves another model than ``path``, a bundle or
    an ``.onnx`` file; returns what could not be looked at.
    """
    with KserveEngine.open(source) as remote:
        known = _interfaces(path)
        if not known:
            return [f"whether {source} serves this model is not known: {path.name} holds several graphs"]
        differs = [_differences(interface, (remote.inputs, remote.outputs)) for interface in known]
        if all(differs):
            raise _another(path, source, differs[0])
        if not (path / MANIFEST).is_file():
            return []
        return _check_answers(Bundle(path), remote, source)


def _another(path: Path, source: str, what: str) -> BadInput:
    return BadInput(
        f"serves another model than {path}: {what}",
        where=f"--triton {source.removeprefix('grpc://')}",
        expected="the model of this bundle",
        fix="name the model, or the version (HOST:PORT/MODEL/VERSION), that was made of it; "
        "behind functions of yours, the step that runs it alone",
    )


def _interfaces(path: Path) -> list[Interface]:
    """Of every engine of a bundle, the usual one's first, or of a graph."""
    if (path / MANIFEST).is_file():
        bundle = Bundle(path)
        names = dict.fromkeys([bundle.usual_target(), *bundle.targets()])
        found = [EngineManifest.load(bundle.engine_directory(name)) for name in names]
        return [(manifest.inputs, manifest.outputs) for manifest in found]
    if path.suffix != ".onnx":
        return []
    with OnnxRuntimeEngine(path, lean=True) as engine:
        return [(engine.inputs, engine.outputs)]


def _differences(own: Interface, served: Interface) -> str:
    """In words; empty where there are none."""
    for kind, ours, theirs in zip(("input", "output"), own, served, strict=True):
        mine, there = ({spec.name: spec for spec in specs} for specs in (ours, theirs))
        if mine.keys() != there.keys():
            return f"its {kind}s are {_names(there)}, not {_names(mine)}"
        for name, spec in mine.items():
            other = there[name]
            if other.dtype not in (spec.dtype, spec.declared):
                return f"its {kind} {name!r} is {other.dtype}, not {spec.dtype}"
            if not _fits(spec.shape, other.shape):
                return f"its {kind} {name!r} has shape {_shape(other)}, not {_shape(spec)}"
    return ""


def _fits(own: Sequence[int | str], served: Sequence[int | str]) -> bool:
    """Whether no length that both say differs; Triton writes a tensor of shape [n] as [n, 1]."""
    if len(served) == len(own) + 1 and served[-1] == 1:
        served = served[:-1]
    pairs = list(zip(own, served, strict=False))
    return len(own) == len(served) and not any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)


def _names(specs: dict[str, TensorSpec]) -> str:
    return ", ".join(map(repr, sorted(specs))) or "none"


def _shape(spec: TensorSpec) -> str:
    return f"[{', '.join(map(str, spec.shape))}]"


def _check_answers(bundle: Bundle, remote: KserveEngine, source: str) -> list[str]:
    folder = bundle.engine_directory(bundle.usual_target())
    try:
        with ExitStack() as stack:
            own = stack.enter_context(_open_here(folder))
            forms: list[Engine] = [own]
            if len(bundle.targets()) > 1:  # what others were built from
                forms.append(stack.enter_context(OnnxRuntimeEngine(bundle.path / MODEL, fuse_qdq=False, lean=True)))
            samples = usual_inputs(folder, own.inputs, bundle.path / MODEL, SAMPLES).samples()
            feeds: list[Feed] = [dict(feed) for feed in islice(samples, SAMPLES)]
            answers = [[form.infer(feed) for feed in feeds] for form in forms]
            served = as_engine(remote, own)
    except (EngineElsewhere, BuildError, EngineError) as error:
        return [f"the served model's answers were not compared with the bundle's: {in_a_line(error)}"]
    found = [served.infer(feed) for feed in feeds]
    unseen = []
    for name in (spec.name for spec in own.outputs):
        noises = [noise for of_form in answers if (noise := _noise(of_form, found, name)) is not None]
        apart = [_noise(first, second, name) or 0.0 for first, second in combinations(answers, 2)]
        if not noises:
            unseen.append(repr(name))
        elif not min(noises) <= max(SAME, APART * max(apart, default=0.0)):
            near = -10 * np.log10(min(noises))
            raise _another(bundle.path, source, f"its answers in {name!r} differ (SQNR {near:.1f} dB)")
    why = "not finite floats of one shape on both sides"
    return [f"the served model's answers in {', '.join(unseen)} were not compared: {why}"] if unseen else []


def _open_here(folder: Path) -> EngineBase:
    """The engine in ``folder``: a GPU's in a process of its own."""
    backend = EngineManifest.load(folder).backend
    return open_engine(folder) if backend == "onnxruntime" else open_apart(folder)


def _noise(expected: Answers, found: Answers, name: str) -> float | None:
    """Noise over signal of a float output; None of another, and of one whose length or finiteness differs, for either
    may hang on a rounding.
    """
    signal = noise = 0.0
    for wanted, got in ((a[name], b[name]) for a, b in zip(expected, found, strict=True)):
        if not np.issubdtype(wanted.dtype, np.floating) or wanted.shape != got.shape:
            return None
        reference, answer = wanted.astype(np.float64), got.astype(np.float64)
        if not (np.isfinite(reference).all() and np.isfinite(answer).all()):
            return None
        signal += float(np.square(reference).sum())
        noise += float(np.square(answer - reference).sum())
    return noise / signal if signal else noise
