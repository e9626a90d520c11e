# SPDX-License-Identifier: Apache-2.0
"""The small programs that docstrings of contracts list, instruction by instruction, as bytes.

A program is a paragraph whose every line begins with an instruction; what follows the instructions is a comment.
An operand is a number or a name in capitals.
"""

from __future__ import annotations

import re
from itertools import groupby

from vyper.evm.opcodes import OPCODES

_OPERAND = re.compile(r"0x[0-9a-f]+|[0-9]+|[A-Z][A-Z_]*")


def listed(source: str) -> list[list[str]]:
    """The words of every program in the first docstring of a source, one list a program."""
    docstring = source.split('"""')[1]
    lines = [_words(line) for line in docstring.splitlines()]
    return [[word for line in group for word in line] for is_code, group in groupby(lines, key=bool) if is_code]


def program(words: list[str], **names: int) -> bytes:
    """The bytes of a program; `names` are the values of its operands in capitals, as wide as their PUSH says.

    A JUMPDEST that a jump needs is named by its own offset: `NEXT` is the offset of the only one.
    """
    code = b""
    for place, word in enumerate(words):
        if word in OPCODES:
            code += bytes([OPCODES[word][0]])
            if word == "JUMPDEST":
                names["NEXT"] = len(code) - 1
        else:
            width = int(words[place - 1].removeprefix("PUSH"))
            code += (names[word] if word in names else int(word, 0)).to_bytes(width, "big")
    return code


def _words(line: str) -> list[str]:
    found: list[str] = []
    for word in line.split():
        is_operand = bool(found) and re.fullmatch(r"PUSH[1-9][0-9]?", found[-1]) and _OPERAND.fullmatch(word)
        if word not in OPCODES and not is_operand:
            break
        found.append(word)
    return found
