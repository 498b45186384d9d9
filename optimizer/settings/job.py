"""What a user asks for: one frozen object that every stage reads, checked before anything runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from graphs.digests import sha256
from graphs.errors import BadInput, check_text
from optimizer.corrections import Correction
from optimizer.settings.asked_plan import AskedPlan
from optimizer.settings.digest import digestible
from optimizer.settings.given import DataSpec, choice
from optimizer.settings.numbers_given import check_above_zero
from optimizer.settings.options import (
    BATCH_AXES,
    CALIBRATION_METHODS,
    CPU_FORMS,
    GPU_FORMS,
    IO_PRECISIONS,
    KEEP,
    OPTIMIZE_FOR,
    SCENARIOS,
    USUAL_DROP,
    Precision,
    Sparsity,
)


@dataclass(frozen=True)
class Settings:
    """Everything but the model.

    ``data``/``eval_data`` are a path, ``module:function``, ``file.py:function``, ``"random"`` or (from Python) a
    callable; ``samples`` calibration samples are drawn from ``data``; ``max_drop`` is a fraction of the FP32 task
    metric, or of the cosine similarity where there is no task metric: given, the fastest mix of precisions within it is
    searched for (``optimizer.search``), by the cost that ``optimize_for`` names; None: ``USUAL_DROP`` is what a form is
    judged by. ``duration`` is seconds per LoadGen scenario;
    ``jobs`` bounds the builds that run at the same time (0: as many as there are cores). ``cpu_form`` is what the CPU
    engine ships in: ``auto`` keeps INT8 only where it is faster and accurate enough, ``int8`` keeps it in any case.
    ``gpu_form`` is what the engine of the GPU that is here ships in: ``auto`` keeps the precision asked for only where
    it is faster than a more precise one and accurate enough, ``asked`` keeps it in any case and builds no other.
    ``batch_axis`` says whether axis 0 of dynamic inputs counts independent samples (``0``) or each array is one sample
    (``none``); ``auto`` finds out by running the model. ``io_precision`` is the float type of inputs and outputs,
    ``keep``: the source's own. ``without`` names INT8 corrections to leave out.
    ``builder_options`` are TensorRT's, ``NAME=VALUE`` (``engines.tensorrt.options``); ``build_time_limit`` (seconds)
    and ``build_memory_limit`` (MiB) end a build that takes more, None: no limit. ``plan`` says what nodes are to
    compute in; engines then ship as it says (``asked_cpu_form``, ``asked_gpu_form``).
    """

    precision: Precision = Precision.INT8
    targets: tuple[str, ...] = ()
    data: DataSpec = None
    eval_data: DataSpec = None
    evaluate: str | Callable[..., Any] | None = None
    calibration: str = "auto"
    samples: int = 512
    max_drop: float | None = None
    optimize_for: str = "latency"
    sparsity: Sparsity = Sparsity.NONE
    shapes: tuple[str, ...] = ()
    loadgen: tuple[str, ...] = ("singlestream", "offline")
    duration: float = 2.0
    seed: int = 0
    jobs: int = 0
    cpu_form: str = "auto"
    gpu_form: str = "auto"
    batch_axis: str = "auto"
    io_precision: str = KEEP
    without: tuple[str, ...] = ()
    builder_options: tuple[str, ...] = ()
    build_time_limit: float | None = None
    build_memory_limit: int | None = None
    plan: AskedPlan | None = None

    def __post_init__(self) -> None:
        for name, kinds in _NUMBERS.items():
            _check_number(f"--{name.replace('_', '-')}", getattr(self, name), kinds)
        for name in ("data", "eval_data", "evaluate"):
            _check_source(name, getattr(self, name))
        _check_choice("--calibration", self.calibration, CALIBRATION_METHODS)
        for name in self.without:
            choice(Correction, name, "--without")
        _check_choice("cpu_form", self.cpu_form, CPU_FORMS)
        _check_choice("gpu_form", self.gpu_form, GPU_FORMS)
        _check_choice("--io-precision", self.io_precision, IO_PRECISIONS)
        _check_choice("--batch-axis", self.batch_axis, BATCH_AXES)
        for scenario in self.loadgen:
            _check_choice("--loadgen", scenario, SCENARIOS)
        _check_choice("--optimize-for", self.optimize_for, OPTIMIZE_FOR)
        if not 0 <= self.allowed_drop < 1:
            raise BadInput(f"{self.max_drop} is out of range", where="--max-drop", expected="0 to 100%, for example 1%")
        if self.samples < 1:
            raise BadInput(f"{self.samples} is too few", where="--samples", expected="1 or more")
        check_above_zero({"--duration": self.duration})
        if self.seed < 0:
            raise BadInput(f"{self.seed} is negative", where="--seed", expected="0 or more")
        if self.jobs < 0:
            raise BadInput(f"{self.jobs} is negative", where="--jobs", expected="0 (all cores) or more")
        for name in ("build_time_limit", "build_memory_limit"):
            check_above_zero({f"--{name.replace('_', '-')}": getattr(self, name)})
        if self.targets:
            from engines.targets.target import check_names

            check_names(self.targets)
        if self.shapes:
            from engines.profile import parse_shape_profiles

            parse_shape_profiles(self.shapes)
        if self.builder_options:
            from engines.tensorrt.options import check_options  # brings numpy, which --help must not wait for

            check_options(self.tensorrt_options)

    @property
    def allowed_drop(self) -> float:
        """The accuracy budget, given or usual."""
        return USUAL_DROP if self.max_drop is None else self.max_drop

    @property
    def searches(self) -> bool:
        """Whether a mix of precisions is to be searched for: a budget was given, and no plan says what it is."""
        return self.max_drop is not None and self.precision.quantized and self.plan is None

    @property
    def parallel_builds(self) -> int:
        return self.jobs or os.cpu_count() or 1

    @property
    def quantizes(self) -> bool:
        """Whether any node may become int8."""
        return self.precision.quantized or (self.plan is not None and self.plan.quantizes)

    @property
    def asked_cpu_form(self) -> str:
        """``cpu_form``; a plan with int8 in it is a choice made already."""
        planned = self.plan is not None and self.plan.quantizes
        return "int8" if planned and self.cpu_form == "auto" else self.cpu_form

    @property
    def asked_gpu_form(self) -> str:
        """``gpu_form``; a plan is a choice made already."""
        return "asked" if self.plan is not None else self.gpu_form

    @property
    def tensorrt_options(self) -> dict[str, str]:
        """``builder_options`` by name. Raises ``BadInput`` for one that is no ``NAME=VALUE``."""
        return dict(_name_and_value(option) for option in self.builder_options)

    def digest(self, *fields: str) -> str:
        """Hex digest of the named fields (all when none is named): what an artifact made from them depends on.

        A field that names a file of code (``score.py:top1``, a plugin library) counts with that file's bytes.
        """
        values = {name: digestible(value) for name, value in asdict(self).items() if not fields or name in fields}
        if values.get("plan"):
            values["plan"] = values["plan"]["nodes"]
        return sha256(msgspec.json.encode(values, order="sorted"))


_WHOLE, _NUMBER = ((int,), "a whole number"), ((int, float), "a number")
_NUMBERS = {
    "samples": _WHOLE,
    "seed": _WHOLE,
    "jobs": _WHOLE,
    "build_memory_limit": _WHOLE,
    "duration": _NUMBER,
    "max_drop": _NUMBER,
    "build_time_limit": _NUMBER,
}


def _check_number(option: str, value: object, kinds: tuple[tuple[type, ...], str]) -> None:
    types, expected = kinds
    if value is not None and (isinstance(value, bool) or not isinstance(value, types)):
        raise BadInput(f"{value!r} is of the wrong type", where=option, expected=expected)


def _check_choice(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise BadInput(f"unknown value {value!r}", where=option, expected=f"one of {', '.join(allowed)}")


def _name_and_value(option: str) -> tuple[str, str]:
    name, separator, value = option.partition("=")
    if not (separator and name.strip() and value.strip()):
        raise BadInput(f"{option!r} cannot be read", where="--builder-option", expected="NAME=VALUE, as tf32=off")
    return name.strip().replace("-", "_"), value.strip()


def _check_source(name: str, value: object) -> None:
    """A generator is no value that a job can be taken up with again, and an array does not say whose it is."""
    if isinstance(value, (str, Path)):
        check_text(value)
        return
    if value is None or callable(value):
        return
    raise BadInput(
        f"{type(value).__name__} is given",
        where=name,
        expected="a path, file.py:function, module:function or a function",
        fix="hand over a dict of arrays by input name, a list of these, or a function that yields them"
        if name != "evaluate"
        else "hand over a function of infer that returns the metric",
    )
