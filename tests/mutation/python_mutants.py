# SPDX-License-Identifier: Apache-2.0
"""Small faults put into Python sources: one changed operator, number, name, condition, or missing statement at a time.

What is left as it is, because nothing but a reader depends on it: annotations, decorators, docstrings, and texts for
people (a text inside a function or an Enum in which words are separated by blanks), except a next step that names a
command. Queries are not texts for people: their comparisons, conditions and orders are broken, too.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
CALLED = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list"}
TRIMMING = {"strip", "lstrip", "rstrip", "lower", "upper", "removesuffix", "removeprefix", "ljust"}
WORDS = re.compile(r"[A-Za-z,.:;] [A-Za-z(\[]")
COMMAND = re.compile(r"\bserving [a-z]|--[a-z]|iconv")
QUERY = re.compile(r"^\s*(SELECT|INSERT|UPDATE|DELETE|BEGIN|ROLLBACK|RELEASE|SAVEPOINT|PRAGMA|CREATE)\b|^ [A-Z]{2,} ")
IN_QUERY = (
    (" >= ", " > "), (" = ?", " != ?"), (" AND ", " OR "), (" DESC", ""), ("max(", "min("), (" OR IGNORE", ""),
    (" OR REPLACE", ""), (" ORDER BY ", " GROUP BY "), ("'0'", "'1'"), (" = 0", " = 1"), ("FULL", "OFF"),
)  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """The fault with this number among those of a source.

    It is in lines `line` to `end`, inside the class or function `place` (empty outside any); `imported` tells that
    the lines run when the module is imported, not when something is called.
    """

    number: int
    line: int
    end: int
    place: str
    imported: bool
    fault: str


def mutants(source: str) -> list[Mutant]:
    """Every mutant of a source, in a fixed order."""
    faults = _Faults(None)
    faults.visit(ast.parse(source))
    return faults.found


def broken(source: str, mutant: Mutant) -> ast.Module:
    """The source with this fault in it."""
    tree: ast.Module = _Faults(mutant.number).visit(ast.parse(source))
    return ast.fix_missing_locations(tree)


class _Faults(ast.NodeTransformer):
    """Lists the faults that can be put into a tree, and puts in the one with the wanted number."""

    def __init__(self, wanted: int | None) -> None:
        self.found: list[Mutant] = []
        self._wanted = wanted
        self._inside: list[str] = []
        self._in_function = self._in_enum = self._in_raise = False
        self._assigned: set[str] = set()

    def _offer(self, node: Any, fault: Callable[[], str], other: Any) -> Any:
        """The node, or in its place `other` if that is the fault that is wanted."""
        number = len(self.found)
        told = fault() if self._wanted is None else ""
        self.found.append(
            Mutant(number, node.lineno, node.end_lineno, ".".join(self._inside), not self._in_function, told)
        )
        return ast.copy_location(other, node) if number == self._wanted else node

    def _replace(self, node: Any, others: list[Any]) -> Any:
        chosen = node
        for other in others:
            made = self._offer(node, partial(_changed, node, other), other)
            chosen = made if made is not node else chosen
        return chosen

    def _condition(self, test: Any) -> Any:
        """A condition, which may always or never hold."""
        if isinstance(test, ast.Constant):
            return test
        chosen = self.visit(test)
        for value in (True, False):
            made = self._offer(test, partial(_condition_is, value, test), ast.Constant(value))
            chosen = made if made is not test else chosen
        return chosen

    # ------------------------------------------------------------------------------------------ definitions

    def _function(self, node: Any) -> Any:
        before = self._in_function, self._assigned
        self._inside.append(node.name)
        self._in_function = False
        node.args = self.visit(node.args)
        self._in_function = True
        self._assigned = {one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg)}
        node.body = self._body(node.body)
        self._in_function, self._assigned = before
        self._inside.pop()
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _function  # noqa: N815  (names that the base class calls)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        node.body = self._body(node.body)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        before = self._in_enum
        self._in_enum = any(_shown(base) == "Enum" for base in node.bases)
        self._inside.append(node.name)
        if not any(_shown(base) == "Protocol" for base in node.bases):
            node.body = self._body(node.body)
        self._inside.pop()
        self._in_enum = before
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.value = self.visit(node.value) if node.value else None
        return node

    def _skipped(self, node: Any) -> Any:
        return node

    visit_Import = visit_ImportFrom = _skipped  # noqa: N815

    def visit_If(self, node: ast.If) -> Any:
        if _shown(node.test) == "TYPE_CHECKING":
            return node
        node.test = self._condition(node.test)
        node.body = self._body(node.body)
        node.orelse = self._body(node.orelse)
        return node

    # ------------------------------------------------------------------------------------------- statements

    def _body(self, body: list[Any]) -> list[Any]:
        made = []
        for statement in body:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                made.append(statement)
                continue
            visited = self.visit(statement)
            made.append(self._deleted(statement, visited, len(body)) if self._in_function else visited)
        return made

    def _deleted(self, node: Any, visited: Any, siblings: int) -> Any:
        """The statement, or nothing in its place."""
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Yield | ast.YieldFrom):
            return visited
        deletable = isinstance(node, ast.Expr | ast.AugAssign) or (isinstance(node, ast.Raise) and siblings > 1)
        if isinstance(node, ast.Assign):
            names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
            deletable = not names or names <= self._assigned
            self._assigned |= names
        if isinstance(node, ast.AnnAssign):
            deletable = False
        if deletable:
            made = self._offer(node, lambda: f"deleted: {_shown(node)}", ast.Pass())
            return made if made is not node else visited
        if isinstance(node, ast.Return) and node.value is not None and _shown(node.value) != "None":
            made = self._offer(node, lambda: f"{_shown(node)} -> return None", ast.Return(ast.Constant(None)))
            return made if made is not node else visited
        if isinstance(node, ast.Break | ast.Continue):
            other = ast.Continue() if isinstance(node, ast.Break) else ast.Break()
            made = self._offer(node, partial(_changed, node, other), other)
            return made if made is not node else visited
        return visited

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for name in ("body", "orelse", "finalbody"):
            if isinstance(getattr(node, name, None), list):
                break
        else:
            return super().generic_visit(node)
        for name, value in ast.iter_fields(node):
            if name in ("body", "orelse", "finalbody"):
                setattr(node, name, self._body(value))
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
            elif isinstance(value, list):
                setattr(node, name, [self.visit(one) if isinstance(one, ast.AST) else one for one in value])
        return node

    def visit_While(self, node: ast.While) -> Any:
        node.test = self._condition(node.test)
        node.body = self._body(node.body)
        return node

    def visit_Raise(self, node: ast.Raise) -> Any:
        before, self._in_raise = self._in_raise, True
        node = super().generic_visit(node)  # type: ignore[assignment]
        self._in_raise = before
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> Any:
        caught = node.type
        node.body = self._body(node.body)
        if isinstance(caught, ast.Tuple):
            others = [
                ast.Tuple([one for one in caught.elts if one is not left_out], ast.Load()) for left_out in caught.elts
            ]
            node.type = self._replace(caught, others)
        elif caught is not None and _shown(caught) != "BaseException":
            node.type = self._replace(caught, [ast.Tuple([], ast.Load())])
        return node

    def visit_match_case(self, node: ast.match_case) -> Any:
        if node.guard is not None:
            node.guard = self._condition(node.guard)
        node.body = self._body(node.body)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        node.value = self.visit(node.value)
        if type(node.op) in COMPUTED:
            other = copy.copy(node)
            other.op = COMPUTED[type(node.op)]()
            return self._replace(node, [other])
        return node

    # ------------------------------------------------------------------------------------------ expressions

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        node.test = self._condition(node.test)
        node.body, node.orelse = self.visit(node.body), self.visit(node.orelse)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> Any:
        node.iter = self.visit(node.iter)
        node.ifs = [self._condition(one) for one in node.ifs]
        return node

    def visit_Compare(self, node: ast.Compare) -> Any:
        original = copy.copy(node)
        super().generic_visit(node)
        others = []
        for place, operator in enumerate(original.ops):
            for other in COMPARED[type(operator)]:
                made = copy.copy(original)
                made.ops = [*original.ops[:place], other(), *original.ops[place + 1 :]]
                others.append(made)
        return self._replace(node, others)

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        super().generic_visit(node)
        if type(node.op) not in COMPUTED:
            return node
        other = copy.copy(node)
        other.op = COMPUTED[type(node.op)]()
        return self._replace(node, [other])

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        operands = list(node.values)
        super().generic_visit(node)
        others = []
        for left_out in operands:
            rest = [one for one in operands if one is not left_out]
            others.append(rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest))
        return self._replace(node, others)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        super().generic_visit(node)
        return self._replace(node, [node.operand]) if isinstance(node.op, ast.Not | ast.USub) else node

    def visit_Call(self, node: ast.Call) -> Any:
        original = copy.copy(node)
        super().generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in CALLED:
            other = copy.copy(original)
            other.func = ast.Name(CALLED[node.func.id], ast.Load())
            if node.func.id == "sorted":
                other.keywords = []
            return self._replace(node, [other])
        if isinstance(node.func, ast.Attribute) and node.func.attr in TRIMMING:
            return self._replace(node, [node.func.value])
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> Any:
        text = "".join(str(one.value) for one in node.values if isinstance(one, ast.Constant))
        if self._in_raise or WORDS.search(text) or not self._in_function:
            return node
        others = [
            ast.JoinedStr([one for one in node.values if one is not left_out])
            for left_out in node.values
            if isinstance(left_out, ast.FormattedValue)
        ]
        return self._replace(node, others)

    def visit_Constant(self, node: ast.Constant) -> Any:
        value = node.value
        if isinstance(value, bool):
            return self._replace(node, [ast.Constant(not value)])
        if isinstance(value, int | float):
            return self._replace(node, [ast.Constant(value + 1)])
        if isinstance(value, bytes):
            return self._replace(node, [ast.Constant(value + b"_")])
        if not isinstance(value, str):
            return node
        if QUERY.search(value):
            chosen: Any = node
            for fault, other in _queries(value):
                made = self._offer(node, partial(str, fault), ast.Constant(other))
                chosen = made if made is not node else chosen
            return chosen
        for_people = self._in_enum or self._in_raise or (self._in_function and WORDS.search(value))
        if for_people and not COMMAND.search(value):
            return node
        return self._replace(node, [ast.Constant("" if for_people else value + "_")])


def _queries(text: str) -> Iterator[tuple[str, str]]:
    """A query's faults: what is changed, and the broken query."""
    for old, new in IN_QUERY:
        for found in re.finditer(re.escape(old), text):
            before, after = text[: found.start()], text[found.end() :]
            yield f"query: ...{before[-30:]}{old}... -> {new.strip() or 'nothing'}", before + new + after


def _changed(node: ast.AST, other: ast.AST) -> str:
    return f"{_shown(node)} -> {_shown(other)}"


def _condition_is(value: bool, test: ast.AST) -> str:
    return f"condition is {value}: {_shown(test)}"


def _shown(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 110 else text[:107] + "..."
