# SPDX-License-Identifier: Apache-2.0
"""Assemble a listing of EVM instructions.

A listing has sections, which keep their order in the result, and one statement per line. `;` starts a comment.

    .section NAME      starts a section
    NAME:              a label, with a JUMPDEST
    OPCODE [operand]   one instruction; PUSHn with n > 0 has an operand of at most n bytes
    DATAn operand      n bytes: a number, or quoted text padded with zeros on the right

An operand is a number, `@NAME` (the offset of a label in its section, or of a section in the result) or `#NAME`
(the size of a section).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from vyper.evm.opcodes import OPCODES

from .errors import AssemblyError

_STATEMENT = re.compile(r'^(?P<word>\.?\w+:?)(?:\s+(?P<operand>"[^"]*"|\S+))?$')


@dataclass(frozen=True)
class _Statement:
    line: int
    prefix: bytes
    size: int = 0
    operand: str = ""

    def __len__(self) -> int:
        return len(self.prefix) + self.size


@dataclass
class _Section:
    statements: list[_Statement] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(statement) for statement in self.statements)


def assemble(listing: str) -> dict[str, bytes]:
    """The bytes of each section, in the order of the listing. Raises `AssemblyError`."""
    sections = _parse(listing)
    offsets: dict[str, int] = {}
    end = 0
    for name, section in sections.items():
        offsets[name] = end
        end += len(section)
    return {
        name: b"".join(
            statement.prefix + _operand(statement, {**offsets, **section.labels}, sections)
            for statement in section.statements
        )
        for name, section in sections.items()
    }


def _parse(listing: str) -> dict[str, _Section]:
    sections: dict[str, _Section] = {}
    section: _Section | None = None
    for line, word, operand in _statements(listing):
        if word == ".section":
            if operand in sections:
                raise AssemblyError(f"line {line}: duplicate section {operand}")
            section = sections[operand] = _Section()
        elif section is None:
            raise AssemblyError(f"line {line}: {word} is before the first section")
        elif word.endswith(":"):
            if section.labels.setdefault(word[:-1], len(section)) != len(section):
                raise AssemblyError(f"line {line}: duplicate label {word[:-1]}")
            section.statements.append(_Statement(line, _opcode("JUMPDEST", line)))
        elif word.startswith("DATA"):
            section.statements.append(_Statement(line, b"", int(word.removeprefix("DATA")), operand))
        else:
            size = int(word.removeprefix("PUSH")) if word.startswith("PUSH") else 0
            if bool(operand) != bool(size):
                raise AssemblyError(f"line {line}: {word} {'needs an' if size else 'takes no'} operand")
            section.statements.append(_Statement(line, _opcode(word, line), size, operand))
    return sections


def _statements(listing: str) -> Iterator[tuple[int, str, str]]:
    for line, text in enumerate(listing.splitlines(), 1):
        statement = text.partition(";")[0].strip()
        if not statement:
            continue
        match = _STATEMENT.match(statement)
        if match is None:
            raise AssemblyError(f"line {line}: cannot parse {statement}")
        yield line, match["word"], match["operand"] or ""


def _opcode(name: str, line: int) -> bytes:
    if name not in OPCODES:
        raise AssemblyError(f"line {line}: unknown instruction {name}")
    return bytes([OPCODES[name][0]])


def _operand(statement: _Statement, offsets: dict[str, int], sections: dict[str, _Section]) -> bytes:
    operand = statement.operand
    try:
        if operand.startswith('"'):
            text = operand.strip('"').encode()
            if len(text) > statement.size:
                raise OverflowError
            return text.ljust(statement.size, b"\0")
        match operand[:1]:
            case "":
                return b""
            case "@":
                value = offsets[operand[1:]]
            case "#":
                value = len(sections[operand[1:]])
            case _:
                value = int(operand, 0)
        return value.to_bytes(statement.size, "big")
    except KeyError as error:
        raise AssemblyError(f"line {statement.line}: unknown name {operand[1:]}") from error
    except OverflowError as error:
        raise AssemblyError(f"line {statement.line}: {operand} is larger than {statement.size} bytes") from error
    except ValueError as error:
        raise AssemblyError(f"line {statement.line}: {operand} is not a valid operand") from error
