"""What the parent asks of a builder child and what it gets back: plain dataclasses, exchanged as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from engines.engine import TensorSpec
from engines.errors import BuildError, BuildFailure
from engines.layers import BuildMemory, LayerInfo, SparseTactics
from engines.profile import ShapeProfile
from engines.targets.target import LibraryName
from graphs.errors import BadInput, EnginewrightError


@dataclass(frozen=True)
class PlanRequest:
    """One plan to build.

    ``model`` and ``plan`` are absolute paths; ``sm`` is the compute capability the plan is for (``"SM80"``), stated to
    libraries that build ahead of time. ``timing_cache`` is a file read before and rewritten after a build by full
    TensorRT. ``options`` are the names of ``engines.tensorrt.options``. ``precision`` is what the user asked for, for
    advice that fits; types live in the graph, and for a weakly typed library (TensorRT 8) in ``node_types``: what each
    ONNX node of ``model`` computes in, ``"fp32"``, ``"fp16"`` or ``"int8"``.
    """

    model: str
    plan: str
    library: LibraryName
    sm: str
    profiles: tuple[ShapeProfile, ...] = ()
    sparse_weights: bool = False
    timing_cache: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    precision: str = ""
    node_types: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PlanBuilt:
    """What came out: inputs and outputs as the plan binds them, the layer table, warnings without repeats, what the
    builder said about 2:4 sparsity, ``notes`` of ours on what it was asked and did not do, and ``remarks`` on what else
    is worth knowing."""

    library_version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    layers: tuple[LayerInfo, ...]
    memory: BuildMemory
    warnings: tuple[str, ...]
    sparsity: tuple[str, ...]
    parse_seconds: float
    build_seconds: float
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    sparse_tactics: SparseTactics | None = None


@dataclass(frozen=True)
class PlanFailed:
    """An error in the child, to be raised again in the parent; ``failure`` None stands for ``BadInput``."""

    failure: BuildFailure | None
    what: str
    where: str = ""
    expected: str = ""
    fix: str = ""
    log: str = ""

    @staticmethod
    def of(error: EnginewrightError) -> PlanFailed:
        if isinstance(error, BuildError):
            return PlanFailed(error.failure, error.what, error.where, error.expected, error.fix, error.log)
        failure = None if isinstance(error, BadInput) else BuildFailure.OTHER
        return PlanFailed(failure, error.what, error.where, error.expected, error.fix)

    def error(self) -> EnginewrightError:
        if self.failure is None:
            return BadInput(self.what, where=self.where, expected=self.expected, fix=self.fix)
        return BuildError(self.failure, self.what, where=self.where, expected=self.expected, fix=self.fix, log=self.log)


@dataclass(frozen=True)
class PlanOutcome:
    """The child's ``result.json``: one of the two is set."""

    built: PlanBuilt | None = None
    failed: PlanFailed | None = None


@dataclass(frozen=True)
class StepDone:
    """A line of the child's standard output: ``done`` of ``total`` steps of a builder phase; 0 of 0 where unknown."""

    stage: str
    done: int = 0
    total: int = 0
