# SPDX-License-Identifier: Apache-2.0
"""Small faults put into Vyper sources: one changed operator, number, condition or missing statement at a time."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from tokenize import NAME, NEWLINE, NUMBER, OP, TokenInfo

REPLACED = {
    "<": ("<=", ">"),
    "<=": ("<", ">="),
    ">": (">=", "<"),
    ">=": (">", "<="),
    "==": ("!=",),
    "!=": ("==",),
    "+": ("-",),
    "-": ("+",),
    "*": ("//",),
    "//": ("*",),
    "%": ("//",),
    "|": ("&",),
    "&": ("|",),
    "<<": (">>",),
    ">>": ("<<",),
    "+=": ("-=",),
    "-=": ("+=",),
    "|=": ("&=",),
    "&=": ("|=",),
    "and": ("or",),
    "or": ("and",),
    "min": ("max",),
    "max": ("min",),
    "True": ("False",),
    "False": ("True",),
    "not": ("",),
}
NO_STATEMENT = {
    "def", "if", "elif", "else", "for", "return", "pass", "break", "continue", "import", "from", "struct", "event",
    "interface", "exports", "initializes", "uses", "implements",
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """`source` with one fault in `line`; `fault` says what stands where."""

    line: int
    fault: str
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a source, in a fixed order. Docstrings, comments, types and declarations stay as they are."""
    lines = source.splitlines(keepends=True)
    for statement in _statements(source):
        first = statement[0]
        for token in statement:
            if token.type in (OP, NAME) and token.string in REPLACED and token is not first:
                for other in REPLACED[token.string]:
                    yield _replace(lines, token, other)
            elif token.type == NUMBER and token.string.isdigit():
                yield _replace(lines, token, str(int(token.string) + 1))
        if first.string in ("if", "elif"):
            yield from _conditions(lines, statement)
        elif first.string not in NO_STATEMENT and statement[1].string != ":":
            yield _delete(lines, statement)


def _statements(source: str) -> Iterator[list[TokenInfo]]:
    """The logical lines inside functions, and the constants before them."""
    statement: list[TokenInfo] = []
    inside = False
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER):
            continue
        if token.type != NEWLINE:
            statement.append(token)
            continue
        first, column = statement[0], statement[0].start[1]
        if column == 0:
            inside = first.string == "def"
        words = [one.string for one in statement[:4]]
        if inside and column > 0 and first.type != tokenize.STRING:
            yield statement
        elif column == 0 and "constant" in words and "=" in [one.string for one in statement]:
            at = next(index for index, one in enumerate(statement) if one.string == "=")
            yield statement[at:]
        statement = []


def _replace(lines: list[str], token: TokenInfo, other: str) -> Mutant:
    row, column = token.start
    text = lines[row - 1]
    changed = text[:column] + other + text[column + len(token.string) :]
    return _mutant(lines, row, row, changed, f"{token.string} -> {other or 'nothing'}: {text.strip()}")


def _conditions(lines: list[str], statement: list[TokenInfo]) -> Iterator[Mutant]:
    first, last = statement[0], statement[-1]
    indent = " " * first.start[1]
    for value in ("True", "False"):
        fault = f"condition is {value}: {lines[first.start[0] - 1].strip()}"
        yield _mutant(lines, first.start[0], last.end[0], f"{indent}{first.string} {value}:\n", fault)


def _delete(lines: list[str], statement: list[TokenInfo]) -> Mutant:
    first, last = statement[0].start[0], statement[-1].end[0]
    indent = " " * statement[0].start[1]
    return _mutant(lines, first, last, f"{indent}pass\n", f"deleted: {lines[first - 1].strip()}")


def _mutant(lines: list[str], first: int, last: int, replacement: str, fault: str) -> Mutant:
    return Mutant(first, fault, "".join([*lines[: first - 1], replacement, *lines[last:]]))
