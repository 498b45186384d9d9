"""What a user asks for: one frozen object that every stage reads, checked before anything runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec

from graphs.digests import sha256, sha256_file
from graphs.errors import BadInput, check_text
from optimizer.asked_plan import AskedPlan
from optimizer.corrections import Correction
from optimizer.numbers_given import check_above_zero


class Precision(str, Enum):
    """What the heavy nodes should compute in; ``auto`` is int8 where that stays within the usual budget, else
    fp16; with a budget that is given, what of int8, fp8 (where every target has it), fp16 and fp32 is best for each.
    ``int8wo`` and ``int4`` store weights alone so, their products are of floats.
    """

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    FP8 = "fp8"
    INT8WO = "int8wo"
    INT4 = "int4"
    NVFP4 = "nvfp4"
    MXFP8 = "mxfp8"
    AUTO = "auto"

    @property
    def quantized(self) -> bool:
        return self not in (Precision.FP32, Precision.FP16, Precision.BF16)


class Sparsity(str, Enum):
    """``2:4`` prunes, and warns of targets that gain nothing; ``2:4-required`` refuses those."""

    NONE = "none"
    TWO_FOUR = "2:4"
    REQUIRED = "2:4-required"

    @property
    def asked(self) -> bool:
        return self is not Sparsity.NONE


CALIBRATION_METHODS = ("auto", "minmax", "entropy", "percentile", "mse")
USUAL_DROP = 0.01
"""The accuracy budget where none was given. Chosen: what MLPerf asks of its closed division."""
OPTIMIZE_FOR = ("latency", "throughput", "size", "energy")
CPU_FORMS = ("auto", "int8", "fp32")
GPU_FORMS = ("auto", "asked")
KEEP = "keep"
IO_PRECISIONS = (KEEP, "fp32", "fp16", "bf16")
BATCH_AXES = ("auto", "0", "none")
SCENARIOS = ("singlestream", "multistream", "server", "offline")

CODE_SUFFIXES = (".py", ".so", ".dll")

DataSpec = str | Path | Callable[[], Any] | None
DataGiven = DataSpec | Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""What a call of the Python API takes: also samples in memory (``sample_source``)."""


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
        values = {name: _plain(value) for name, value in asdict(self).items() if not fields or name in fields}
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


def option_list(value: Mapping[str, Any] | Iterable[str] | str) -> tuple[str, ...]:
    """Builder options as a mapping (``{"tf32": False}``), a list or one text -> ``("tf32=off",)``."""
    if isinstance(value, Mapping):
        spelled = {True: "on", False: "off"}
        return tuple(f"{name}={spelled[v] if isinstance(v, bool) else v}" for name, v in value.items())
    return (value,) if isinstance(value, str) else tuple(str(item) for item in value)


def _plain(value: Any) -> Any:
    """A callable is known by its name only: the data's own digest tells whether what it yields has changed."""
    if callable(value):
        return f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', repr(value))}"
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    text = str(value) if isinstance(value, Path) else value
    return [text, *map(sha256_file, _code_files(text))] if isinstance(text, str) else text


def _code_files(text: str) -> list[Path]:
    """The files whose code an option names: ``file.py:function``, ``module:function`` of the working folder, or
    libraries as in ``plugins=a.so:b.so``. Python files next to one count too, for it may import them.
    """
    named = text.rpartition(":")[0]
    places = [Path(place) for place in (named, *text.rpartition("=")[2].split(os.pathsep))]
    if named and "/" not in named:
        module = Path(*named.split("."))
        places += [module.with_name(f"{module.name}.py"), module / "__init__.py"]
    files = [path for path in dict.fromkeys(places) if path.suffix in CODE_SUFFIXES and path.is_file()]
    beside = [path for file in files if file.suffix == ".py" for path in sorted(file.parent.glob("*.py"))]
    return list(dict.fromkeys([*files, *beside]))


def parse_fraction(text: str, where: str = "--max-drop") -> float:
    """``"1%"`` -> 0.01, ``"0.01"`` -> 0.01. Raises ``BadInput``."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise BadInput(f"{text!r} is not a fraction", where=where, expected="for example 1% or 0.01") from None


def sample_source(value: object) -> Any:
    """Samples in memory, a dict of arrays by input name or a list of these, as a function that yields them: a job knows
    them, like those of any function, by what comes out. Anything else as it is.
    """
    feeds = [value] if isinstance(value, Mapping) else value
    if not isinstance(feeds, (list, tuple)) or not feeds or not all(isinstance(feed, Mapping) for feed in feeds):
        return value

    def samples_in_memory() -> Iterable[Mapping[str, Any]]:
        return feeds

    samples_in_memory.__name__ = "samples in memory"  # as the report names them
    return samples_in_memory


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


def model_path(value: object) -> Path:
    """The path of a model's file. Raises ``BadInput`` for anything else, such as a model in memory."""
    if isinstance(value, (str, os.PathLike)):
        check_text(path := Path(value))
        return path
    raise BadInput(
        f"{type(value).__name__} is given",
        where="model",
        expected="the path of an .onnx file",
        fix="hand over a path; a model in memory is written to a file by onnx.save",
    )


def listed(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """``"t4, a100"`` or ``["t4", "a100"]`` -> ``("t4", "a100")``; None, ``""`` and ``"none"`` -> ``()``."""
    items = value.split(",") if isinstance(value, str) else value or ()
    return tuple(word for item in items if (word := str(item).strip()) not in ("", "none"))


def choice(kind: type[Any], value: str, where: str) -> Any:
    """The enum member with this value; raises ``BadInput`` listing the values there are."""
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(member.value for member in kind)
        raise BadInput(f"unknown value {value!r}", where=where, expected=f"one of {known}") from None
