"""A precision plan that is given: ``precision.json`` of a bundle, edited by hand or written by a search.

What it says of a node is done, but where a rule refuses it (a node that cannot be int8, a number that FP16 cannot
hold); what it does not name is decided as usual. Names are ONNX names, so a plan made for one model fits its retrained
successor. What did not come true is told from the plan that came out, in ``followed``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.report.plan_followed import PlanFollowed
from graphs.errors import BadInput, first_few
from optimizer.precision import Dtype, NodePrecision, PrecisionPlan

PLAN_FILE = "precision.json"
BY_THE_PLAN = "asked for by the plan"
"""The reason of a node that computes in something else than it would without the plan."""
_NAMED = 5
"""Nodes that an error names before it counts the others. Chosen."""
_FORM = '{"nodes": {"NAME": "fp16"}}, or a bundle\'s precision.json'


@dataclass(frozen=True)
class _Content:
    nodes: dict[str, Any]


@dataclass(frozen=True)
class AskedNode:
    """``op_type`` is empty where the plan does not say what the node is."""

    dtype: Dtype
    op_type: str = ""


@dataclass(frozen=True)
class AskedPlan:
    """Node name -> what it is to compute in; ``source`` names the file in messages."""

    nodes: Mapping[str, AskedNode]
    source: str = field(default="", compare=False)

    @staticmethod
    def from_file(path: Path) -> AskedPlan:
        """Read a plan, or that of a bundle's ``model.onnx`` where ``path`` is its folder.

        Raises ``BadInput`` for a file that is no plan, and for precisions that there are not, naming their nodes.
        """
        from graphs.files import read_json  # loads numpy, which `optimize --help` does not need

        file = path / PLAN_FILE if path.is_dir() else path
        try:
            nodes = read_json(file, _Content).nodes
        except BadInput as error:
            raise BadInput(error.what.replace(_Content.__name__, "plan"), where=error.where, expected=_FORM) from None
        if not nodes:
            raise BadInput("names no nodes", where=str(file), expected=_FORM)
        return AskedPlan.of(nodes, str(file))

    @staticmethod
    def of(nodes: Mapping[str, Any], source: str = "") -> AskedPlan:
        """``{"conv1": "fp16"}``, or each node as ``precision.json`` has it. Raises ``BadInput``."""
        known = {dtype.value for dtype in Dtype}
        words = {name: _word(value) for name, value in nodes.items()}
        if strange := [f"{name!r} in {word!r}" for name, word in words.items() if word not in known]:
            raise BadInput(
                f"there is no such precision: {first_few(strange, _NAMED)}",
                where=source or "plan",
                expected=f"one of {', '.join(sorted(known))}",
            )
        return AskedPlan({name: AskedNode(Dtype(word), _op_type(nodes[name])) for name, word in words.items()}, source)

    @staticmethod
    def of_plan(plan: PrecisionPlan, source: str = "") -> AskedPlan:
        """What a plan that came out would ask for."""
        return AskedPlan({name: AskedNode(node.dtype, node.op_type) for name, node in plan.nodes.items()}, source)

    @property
    def dtypes(self) -> tuple[Dtype, ...]:
        """Those that it asks for, each once."""
        return tuple(dict.fromkeys(node.dtype for node in self.nodes.values()))

    @property
    def called(self) -> str:
        """What messages call it."""
        return self.source or "the plan"

    @property
    def quantizes(self) -> bool:
        """Whether it wants any node quantized."""
        return any(node.dtype.quantized for node in self.nodes.values())

    def within(self, op_types: Mapping[str, str]) -> AskedPlan:
        """What of it is about a graph with these nodes: their names and operators are its own."""
        fitting = {name: node for name, node in self.nodes.items() if not _misfit(name, node, op_types)}
        return AskedPlan(fitting, self.source)

    def check_fits(self, op_types: Mapping[str, str]) -> None:
        """Raises ``BadInput`` where nothing of it is about a graph with these nodes: it was made for another model."""
        if self.within(op_types).nodes:
            return
        raise BadInput(
            f"this plan is of another model: none of its {len(self.nodes)} nodes is in this one",
            where=self.called,
            expected=f"nodes such as {first_few(map(repr, op_types), _NAMED)}",
            fix="names and operators are listed by `optimize explain BUNDLE`",
        )

    def high_dtype(self, usual: Dtype, nodes: int) -> Dtype:
        """The one precision of what is not quantized in a graph of so many nodes: ``usual``, but where the plan asks
        for half precision in an FP32 run, or for the other half precision in most of the graph.
        """
        halves = {dtype: sum(node.dtype is dtype for node in self.nodes.values()) for dtype in Dtype if dtype.half}
        most = max(halves, key=lambda dtype: halves[dtype])
        if usual is Dtype.FP32:
            return most if halves[most] else usual
        return most if halves[most] > nodes / 2 else usual

    def kept_float(self, plan: PrecisionPlan, *, weighted_only: bool, unnamed: str = "") -> dict[str, str]:
        """Node -> why: what ``plan`` quantizes and this wants in a float type.

        ``weighted_only``: where no half precision exists, FP16 and BF16 count for the nodes with multiply-accumulates
        alone; what lies between integer products follows them. ``unnamed`` is the reason for which products stay float
        that are not named, empty where they are quantized as usual.
        """
        quantized = {name: node for name, node in plan.nodes.items() if node.dtype.quantized}
        asked = self.within({name: node.op_type for name, node in plan.nodes.items()}).nodes
        kept = {name: unnamed for name, node in quantized.items() if unnamed and name not in asked and node.macs}
        for name, node in quantized.items():
            wanted = asked[name].dtype if name in asked else node.dtype
            if wanted is Dtype.FP32 or (wanted.half and (node.macs or not weighted_only)):
                kept[name] = BY_THE_PLAN
        return kept

    def followed(self, found: PrecisionPlan, form: str, *, halves: bool) -> PlanFollowed:
        """How far ``found``, the plan that came out for ``form``, is what was asked for; without ``halves`` the form
        has no half precision, and what was asked for in one is not held against it.
        """
        op_types = {name: node.op_type for name, node in found.nodes.items()}
        refused: dict[str, str] = {}
        wide = 0
        for name, node in self.nodes.items():
            if why := _misfit(name, node, op_types):
                refused[name] = why
            elif found.nodes[name].dtype is not node.dtype:
                if node.dtype.half and not halves:
                    wide += 1
                else:
                    refused[name] = _refusal(node.dtype, found.nodes[name], form, halves=halves)
        notes = [f"{wide} nodes planned in half precision follow their neighbours in int8 or FP32"] if wide else []
        return PlanFollowed(form, len(self.nodes), len(self.nodes) - len(refused), refused, notes)


def asked_plan(given: AskedPlan | PrecisionPlan | Mapping[str, Any] | str | Path | None) -> AskedPlan | None:
    """Whatever the Python API takes for ``plan``: a file, a bundle, a plan, or what each node is to compute in."""
    if given is None or isinstance(given, AskedPlan):
        return given
    if isinstance(given, PrecisionPlan):
        return AskedPlan.of_plan(given)
    return AskedPlan.of(given) if isinstance(given, Mapping) else AskedPlan.from_file(Path(given))


def _misfit(name: str, node: AskedNode, op_types: Mapping[str, str]) -> str:
    if name not in op_types:
        return "no such node"
    if node.op_type and op_types[name] and node.op_type != op_types[name]:
        return f"is a {op_types[name]} here, a {node.op_type} in the plan"
    return ""


def _refusal(asked: Dtype, found: NodePrecision, form: str, *, halves: bool) -> str:
    if asked.quantized and found.dtype.quantized and not halves:
        return f"{found.dtype.value}: {form} has no {asked.value}"
    if asked.quantized and found.dtype.quantized:
        return f"{found.dtype.value}, not {asked.value}: quantized as --precision says"
    if asked.half and found.dtype.half:
        return (
            f"{found.dtype.value}, not {asked.value}: a graph has one half precision, --precision {asked.value} sets it"
        )
    return f"{found.dtype.value}, not {asked.value}: {found.reason}"


def _word(value: Any) -> str:
    found = value.get("dtype", "") if isinstance(value, Mapping) else value
    return found.value if isinstance(found, Dtype) else str(found)


def _op_type(value: Any) -> str:
    return str(value.get("op_type", "")) if isinstance(value, Mapping) else ""
