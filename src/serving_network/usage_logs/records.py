# SPDX-License-Identifier: Apache-2.0
"""Split a usage log into records: lines, CSV records (RFC 4180), or the elements of a JSON array.

Each is bounded: no log makes the reader hold more than MAX_LINE_BYTES and a block. A line or record that is too long is
rejected. After a quote or bracket that is never closed, nobody can tell where the next record begins: reading ends
there, with one reject that says so.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, Final, NamedTuple

from serving_network.messages.usage import Reject
from serving_network.untrusted import reason_of

MAX_LINE_BYTES: Final = 1 << 20
EXCERPT_CHARACTERS: Final = 500
_BLOCK: Final = 1 << 18


class Record(NamedTuple):
    """A record without its line end. `number` is that of its first line; `whole` is whether it had a line end."""

    number: int
    content: bytes
    whole: bool


class Unreadable(Exception):
    """The reason why nothing from this record on can be read."""

    def __init__(self, number: int, reason: str, content: bytes) -> None:
        super().__init__(reason)
        self.reject = Reject(number, reason, excerpt(content))


class Lines:
    """The lines of a stream. After the last one, `offset` and `number` are where a line that is not complete begins.

    Rejects lines that are too long, and the line at which a compressed stream is cut off. With `quotes`, a line that is
    too long raises Unreadable: it may end inside a quoted field.
    """

    def __init__(
        self, stream: Any, reject: Callable[[Reject], None], offset: int = 0, number: int = 1, *, quotes: bool = False
    ) -> None:
        self.offset = offset
        self.number = number
        self._quotes = quotes
        self._stream = stream
        self._reject = reject

    def __iter__(self) -> Iterator[Record]:
        return records_of(self.blocks())

    def blocks(self) -> Iterator[Record]:
        """The lines as they are read: each item has one or several, of which the last had a line end if it is whole."""
        number, offset = self.number, self.offset
        rest = b""
        too_long = False
        while True:
            try:
                block = self._stream.read(_BLOCK)
            except (EOFError, OSError, zlib.error) as error:
                self._reject(Reject(number, f"the compressed log is cut off: {reason_of(error)}", excerpt(rest)))
                return
            if not block:
                break
            offset += len(block)
            end = block.rfind(b"\n")
            if end < 0:
                rest = rest if too_long else rest + block
                if len(rest) > MAX_LINE_BYTES:
                    reason = f"line too long: more than {MAX_LINE_BYTES} bytes"
                    if self._quotes:
                        raise Unreadable(number, f"{reason}. Nothing from this line on was read", rest)
                    self._reject(Reject(number, reason, excerpt(rest)))
                    rest, too_long = b"", True
                continue
            begin = 0
            if too_long:
                begin, number, too_long = block.find(b"\n") + 1, number + 1, False
            if begin <= end:
                content = rest + block[begin:end]
                yield Record(number, content, True)
                number += content.count(b"\n") + 1
            rest = block[end + 1 :]
        if not too_long:
            self.offset, self.number = offset - len(rest), number
            if rest:
                yield Record(number, rest, False)


def records_of(blocks: Iterable[Record]) -> Iterator[Record]:
    """The lines of blocks, one by one."""
    for number, content, whole in blocks:
        for place, line in enumerate(content.split(b"\n"), number):
            yield Record(place, line, whole)


def blocks_of(records: Iterable[Record]) -> Iterator[Record]:
    """The lines as blocks. Only the last one may lack a line end, and is a block of its own then."""
    lines = list(records)
    whole = [line for line in lines if line.whole]
    if whole:
        yield Record(whole[0].number, b"\n".join(line.content for line in whole), True)
    yield from (line for line in lines if not line.whole)


class Quoting(NamedTuple):
    """Patterns for the quotes of CSV with one separator, over bytes."""

    opens: re.Pattern[bytes]
    """A line that ends inside a quoted field which begins in it."""
    stays_open: re.Pattern[bytes]
    """A line that begins and ends inside a quoted field."""
    closed: re.Pattern[bytes]
    """A record in which each quoted field ends at its closing quote."""


@cache
def quoting(separator: str) -> Quoting:
    """The patterns for a separator. They take linear time."""
    mark = re.escape(separator).encode()
    inner = rb'(?:[^"]++|"")*+'
    field = rb'(?:"' + inner + rb'"|[^"' + mark + rb"][^" + mark + rb"]*+|)"
    fields = rb"(?:" + field + mark + rb")*+"
    opens = fields + rb'"' + inner
    stays_open = inner + rb'(?:"' + mark + opens + rb")?+"
    return Quoting(re.compile(opens), re.compile(stays_open), re.compile(fields + field))


def whole_record(line: Record, lines: Iterator[Record], separator: str) -> Record:
    """The CSV record that begins with a line: a line break inside a quoted field is part of the field.

    Raises Unreadable if a quote is not closed before the end of the log, or within MAX_LINE_BYTES.
    """
    opens, stays_open, _ = quoting(separator)
    if not opens.fullmatch(line.content):
        return line
    parts, size = [line.content], len(line.content)
    for following in lines:
        parts.append(following.content)
        size += len(following.content) + 1
        if size > MAX_LINE_BYTES:
            raise _unclosed(line, f"within {MAX_LINE_BYTES} bytes")
        if not stays_open.fullmatch(following.content):
            return Record(line.number, b"\n".join(parts), following.whole)
    if not line.whole:
        raise Unreadable(line.number, "incomplete last line: the log ends inside a quoted field", line.content)
    raise _unclosed(line, "by the end of the log")


def _unclosed(line: Record, until: str) -> Unreadable:
    return Unreadable(
        line.number,
        f"unclosed quote: the quote that opens in line {line.number} is not closed {until}. Nothing from this line on"
        " was read: close the quote and run again",
        line.content,
    )


_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},:]', re.DOTALL)


class JsonArray:
    """The elements of the array at `path` (names with dots; empty: the document itself) in a JSON document.

    Memory is bounded by the longest element. Raises Unreadable where the document is broken or ends too early, or has
    no such array.
    """

    def __init__(self, stream: Any, path: str) -> None:
        self._stream = stream
        self._path = tuple(path.split(".")) if path else ()
        self._buffer = b""
        self._kept = 0
        self._place = 0
        self._number = 1
        self._counted = 0

    def __iter__(self) -> Iterator[Record]:
        self._find_array()
        while True:
            self._kept = self._place
            depth = 0
            while True:
                token, start = self._next()
                if token in (b"[", b"{"):
                    depth += 1
                elif token in (b"]", b"}"):
                    depth -= 1
                if depth < 0 or (depth == 0 and token == b","):
                    break
            element = self._buffer[self._kept : start]
            stripped = element.lstrip()
            number = self._line_of(self._kept + len(element) - len(stripped))
            if stripped:
                yield Record(number, stripped.rstrip(), True)
            if depth < 0:
                return

    def _find_array(self) -> None:
        """Move behind the opening bracket of the array."""
        wanted = [None, *self._path]
        outer: list[str | None] = []
        name: str | None = None
        while True:
            self._kept = self._place
            token = self._next(searching=True)[0]
            if token == b"[" and [*outer, name] == wanted:
                return
            if token in (b"[", b"{"):
                outer.append(name)
                name = None
            elif token in (b"]", b"}"):
                if len(outer) < 2:
                    raise self._missing()
                outer.pop()
            elif token == b",":
                name = None
            elif token != b":" and name is None:
                name = token[1:-1].decode("utf-8", "backslashreplace")

    def _next(self, *, searching: bool = False) -> tuple[bytes, int]:
        """The next bracket, comma, colon or whole text, with its place in the buffer. Moves behind it."""
        while True:
            match = _TOKEN.search(self._buffer, self._place)
            if match is not None and match[0] != b'"':
                self._place = match.end()
                return match[0], match.start()
            self._place = len(self._buffer) if match is None else match.start()
            if len(self._buffer) - self._kept > MAX_LINE_BYTES:
                raise self._unreadable(f"element too long: more than {MAX_LINE_BYTES} bytes")
            try:
                block = self._stream.read(_BLOCK)
            except (EOFError, OSError, zlib.error) as error:
                raise self._unreadable(f"the compressed log is cut off: {reason_of(error)}") from error
            if not block:
                if searching:
                    raise self._missing()
                raise self._unreadable("broken JSON: the array is not closed by the end of the log")
            self._line_of(self._kept)
            self._buffer = self._buffer[self._kept :] + block
            self._place -= self._kept
            self._counted = self._kept = 0

    def _line_of(self, place: int) -> int:
        self._number += self._buffer.count(b"\n", self._counted, place)
        self._counted = place
        return self._number

    def _missing(self) -> Unreadable:
        where = f"at {'.'.join(self._path)}" if self._path else "of rows"
        return Unreadable(1, f"the document has no array {where} (--rows PATH names another)", self._buffer)

    def _unreadable(self, reason: str) -> Unreadable:
        element = self._buffer[self._kept :].lstrip()
        number = self._line_of(len(self._buffer) - len(element))
        return Unreadable(number, f"{reason}. Nothing from this line on was read", element)


def excerpt(content: bytes) -> str:
    """The beginning of a record, for a reject."""
    return content[:EXCERPT_CHARACTERS].decode("utf-8", "backslashreplace")
