# SPDX-License-Identifier: Apache-2.0
"""Break lines at words for a terminal, and shorten addresses for its tables.

Addresses, hashes, commands, amounts and times are never broken: what is copied must be whole.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_UNIT: Final = re.compile(
    r"(?:^|(?<=: )|(?<=  ))(?:serving|curl|chmod|export|mkdir) .*$"  # a command, to the end of the line
    r"|serving [a-z-]+(?: [a-z-]+)?(?: --?\S+)*"  # a command in a sentence
    r"|(?:\w+=)?\(?-?[\d.]+ (?:coins?|gwei|wei)\b\S*"  # an amount
    r"|\d+ (?:d|h|min|s)\b\S*"  # a span of time
    r"|(?:\w+=)?\(?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+"  # a time
    r"|\S+"
)
_GAP: Final = re.compile(r"\S {2,}(?=\S)")
_HEX: Final = re.compile(r"0x(?:[0-9a-fA-F]{64}|[0-9a-fA-F]{40})(?![0-9a-zA-Z])")
_HEAD, _TAIL = 6, 4
_LEAST_HANG: Final = 2


def wrapped(text: str, width: int) -> Iterator[tuple[int, int, int]]:
    """The lines of `text` on a terminal of `width` columns: for each its indent, its start and its end in the text.

    Lines after the first are indented to the last column of an aligned line, otherwise by two; less if what must not
    be broken would not fit there.
    """
    if cell_len(text) <= width:
        yield 0, 0, len(text)
        return
    hang = _hang(text, width)
    indent = start = end = 0
    for unit in _UNIT.finditer(text):
        room = width - cell_len(unit[0])
        next_indent = min(hang, room) if room >= _LEAST_HANG else hang
        gains = indent + unit.start() - start > next_indent  # on the next line, the unit begins further to the left
        if end and gains and indent + cell_len(text[start : unit.end()]) > width:
            yield indent, start, end
            indent, start = next_indent, unit.start()
        end = unit.end()
    yield indent, start, end


def _hang(text: str, width: int) -> int:
    gaps = [gap.end() for gap in _GAP.finditer(text) if gap.end() <= width // 2]
    return gaps[-1] if gaps else len(text) - len(text.lstrip()) + _LEAST_HANG


def shortened(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The cells with addresses and hashes as 0x1234...abcd, but for those that would look like another one."""
    known = defaultdict(set)
    for row in rows:
        for cell in row:
            for found in _HEX.findall(cell):
                known[_short(found).lower()].add(found.lower())

    def short(found: re.Match[str]) -> str:
        text = _short(found[0])
        return text if len(known[text.lower()]) == 1 else found[0]

    return [[_HEX.sub(short, cell) for cell in row] for row in rows]


def _short(text: str) -> str:
    return f"{text[:_HEAD]}...{text[-_TAIL:]}"
