"""Which names of a library our source uses, read from its syntax tree.

Types are followed from the library module on: ``trt.Runtime(...)`` is a Runtime, and what its methods return is known
from the bindings' signatures. Where the tree does not tell (a parameter annotated ``Any``), seeds say which class a
variable holds; a method of the library called on anything else is reported as unresolved, so that nothing escapes.

With each use goes what the code has asked before it: ``if library.capabilities.host_code:`` (also ``not``, ``and``,
``or``, ``x if c else y``, ``assert``, and what follows a branch that leaves) guards what it leads to.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

from engines.tensorrt.capabilities import Capabilities

MODULE = "<module>"
NAMED_BY_STRING = {
    "_flag": ("BuilderFlag", 0),
    "_integer": ("IBuilderConfig", 0),
    "_pool": ("MemoryPoolType", 0),
    "_set": ("IBuilderConfig", 1),
}
"""Functions of ours with an argument that is the name of a member: the class, and which argument it is."""
CAPABILITIES = {field.name for field in fields(Capabilities)}
Catalogue = Mapping[str, Mapping[str, list[dict[str, Any]]]]
Fact: TypeAlias = tuple[str, bool]
"""A capability, and whether it is there."""


@dataclass(frozen=True)
class Use:
    """``owner.member`` somewhere in our source; ``owner`` is ``MODULE`` or a class. A call has its arguments,
    ``guards`` are what was asked before, ``stored`` says that the member is set."""

    where: str
    owner: str
    member: str
    call: bool = False
    positional: int = 0
    keywords: tuple[str, ...] = ()
    guards: frozenset[Fact] = frozenset()
    stored: bool = False

    def runs(self, capabilities: Capabilities) -> bool:
        """Whether a library of these capabilities gets here."""
        return all(bool(getattr(capabilities, name)) is wanted for name, wanted in self.guards)


@dataclass(frozen=True)
class Known:
    """What an expression is: the module, a class itself, or an instance of it."""

    name: str
    instance: bool = True


@dataclass
class Reader(ast.NodeVisitor):
    """Collects uses of one file. ``seeds``: source text of a variable -> class it holds, ``MODULE`` for the
    module."""

    file: str
    catalogue: Catalogue
    seeds: Mapping[str, str]
    uses: list[Use] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)
    scope: dict[str, Known] = field(default_factory=dict)
    attributes: dict[str, Known] = field(default_factory=dict)
    guards: frozenset[Fact] = frozenset()
    asked: dict[str, str] = field(default_factory=dict)
    """Variables that hold a capability."""

    def __post_init__(self) -> None:
        self.methods = {
            name
            for members in self.catalogue.values()
            for name, found in members.items()
            if found and "_" in name.strip("_")
        }

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.attributes = {}
        self.generic_visit(node)
        self.attributes = {}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer, self.scope = self.scope, dict(self.scope)
        asked, self.asked = self.asked, {}
        for part in (*node.decorator_list, node.args):
            self.visit(part)
        self.block(node.body)
        self.scope, self.asked = outer, asked

    def block(self, statements: list[ast.stmt], facts: frozenset[Fact] = frozenset()) -> None:
        """Visit statements in order; what one of them makes certain holds for those behind it."""
        outer, self.guards = self.guards, self.guards | facts
        for statement in statements:
            self.visit(statement)
            if isinstance(statement, ast.If) and _leaves(statement.body):
                self.guards |= self.facts(statement.test, False)
            if isinstance(statement, ast.Assert):
                self.guards |= self.facts(statement.test, True)
        self.guards = outer

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self.block(node.body, self.facts(node.test, True))
        self.block(node.orelse, self.facts(node.test, False))

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        self.guarded([node.body], self.facts(node.test, True))
        self.guarded([node.orelse], self.facts(node.test, False))

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        first, *others = node.values
        self.visit(first)
        self.guarded(others, self.facts(first, isinstance(node.op, ast.And)))

    def visit_For(self, node: ast.For) -> None:
        self.visit(node.iter)
        self.block(node.body)

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            self.visit(item)
        self.block(node.body)

    def visit_Try(self, node: ast.Try) -> None:
        for part in (node.body, *(handler.body for handler in node.handlers), node.orelse, node.finalbody):
            self.block(part)

    def guarded(self, parts: list[ast.expr], facts: frozenset[Fact]) -> None:
        outer, self.guards = self.guards, self.guards | facts
        for part in parts:
            self.visit(part)
        self.guards = outer

    def facts(self, test: ast.expr, holds: bool) -> frozenset[Fact]:
        """What ``test`` says of capabilities where it holds, or where it does not."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            return self.facts(test.operand, not holds)
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And if holds else ast.Or):
            return frozenset().union(*(self.facts(value, holds) for value in test.values))
        name = self.capability(test)
        return frozenset({(name, holds)}) if name else frozenset()

    def capability(self, node: ast.expr) -> str:
        """The capability that an expression asks for; empty for any other."""
        if isinstance(node, ast.Name):
            return self.asked.get(node.id, "")
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("capabilities"):
            assert node.attr in CAPABILITIES, f"{self.place(node)}: no capability {node.attr}"
            return node.attr
        return ""

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                for name, part in zip(target.elts, node.value.elts, strict=True):
                    self.remember(name, part)
            else:
                self.remember(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        if node.value is not None:
            self.remember(node.target, node.value)

    def remember(self, target: ast.expr, value: ast.expr) -> None:
        found = self.known(value)
        if isinstance(target, ast.Name):
            self.asked[target.id] = self.capability(value)
        if found is not None and isinstance(target, ast.Name):
            self.scope[target.id] = found
        elif found is not None and isinstance(target, ast.Attribute):
            self.attributes[ast.unparse(target)] = found

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        owner = self.known(node.value)
        if owner is not None and not node.attr.startswith("__"):
            stored = isinstance(node.ctx, ast.Store)
            self.uses.append(Use(self.place(node), owner.name, node.attr, guards=self.guards, stored=stored))

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        keywords = tuple(keyword.arg for keyword in node.keywords if keyword.arg)
        function = self.known(node.func)
        if isinstance(node.func, ast.Name) and node.func.id in NAMED_BY_STRING:
            owner_class, index = NAMED_BY_STRING[node.func.id]
            name = node.args[index]
            if isinstance(name, ast.Constant):
                self.uses.append(Use(self.place(node), owner_class, str(name.value), guards=self.guards))
        if function is not None and not function.instance:
            arguments = (True, len(node.args), keywords, self.guards)
            self.uses.append(Use(self.place(node), function.name, "__init__", *arguments))
        elif isinstance(node.func, ast.Attribute):
            owner = self.known(node.func.value)
            if owner is not None:
                count = len(node.args) - (not owner.instance)  # Base.__init__(self) hands self over itself
                self.uses.append(Use(self.place(node), owner.name, node.func.attr, True, count, keywords, self.guards))
            elif node.func.attr in self.methods:
                self.unresolved.append(f"{self.place(node)}: {ast.unparse(node.func)}")

    def place(self, node: ast.expr) -> str:
        return f"{self.file}:{node.lineno}"

    def known(self, node: ast.expr) -> Known | None:
        """What ``node`` is, as far as the tree and the seeds tell."""
        text = ast.unparse(node)
        if text in self.seeds:
            return Known(self.seeds[text])
        if text in self.attributes:
            return self.attributes[text]
        if text.endswith("library.module"):
            return Known(MODULE)
        if isinstance(node, ast.Name):
            return self.scope.get(node.id)
        if isinstance(node, ast.BoolOp):
            return next((found for found in map(self.known, node.values) if found), None)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        return None

    def _attribute(self, node: ast.Attribute) -> Known | None:
        owner = self.known(node.value)
        if owner is None or owner.name != MODULE:
            return None
        return Known(node.attr, instance=False)

    def _call(self, node: ast.Call) -> Known | None:
        function = self.known(node.func)
        if function is not None and not function.instance:
            return Known(function.name)
        if not isinstance(node.func, ast.Attribute):
            return None
        owner = self.known(node.func.value)
        found = self.catalogue.get(owner.name, {}).get(node.func.attr, []) if owner else []
        returned = {signature["returns"] for signature in found}
        name = returned.pop() if len(returned) == 1 else ""
        return Known(name) if name in self.catalogue else None


def _leaves(body: list[ast.stmt]) -> bool:
    return isinstance(body[-1], (ast.Return, ast.Raise, ast.Continue, ast.Break))


def read_uses(files: Mapping[Path, Mapping[str, str]], catalogue: Catalogue) -> tuple[list[Use], list[str]]:
    """(uses, unresolved calls) of files, each with its seeds."""
    uses: list[Use] = []
    unresolved: list[str] = []
    for path, seeds in files.items():
        reader = Reader(path.name, catalogue, seeds)
        reader.visit(ast.parse(path.read_text()))
        uses += reader.uses
        unresolved += reader.unresolved
    return uses, unresolved


def problems(use: Use, names: Catalogue) -> Iterator[str]:
    """Why ``use`` does not fit a bindings module with these names; nothing if it does."""
    if use.owner == MODULE:
        if use.member not in names:
            yield f"{use.where}: the module has no {use.member}"
        return
    if use.owner not in names:
        yield f"{use.where}: the module has no {use.owner}"
        return
    members = names[use.owner]
    if "()" in members:  # a function of the module
        use = replace(use, member="()")
    if use.member not in members:
        yield f"{use.where}: {use.owner} has no {use.member}"
        return
    if use.call and members[use.member] and not any(_accepts(s["arguments"], use) for s in members[use.member]):
        given = f"{use.positional} positional and {use.keywords or 'no'} keyword arguments"
        yield f"{use.where}: {use.owner}.{use.member} takes {members[use.member]}, not {given}"


def _accepts(arguments: list[str], use: Use) -> bool:
    return use.positional + len(use.keywords) <= len(arguments) and set(use.keywords) <= set(arguments)
