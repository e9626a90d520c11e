# SPDX-License-Identifier: Apache-2.0
"""Read a provider's usage log as a stream: JSON Lines, CSV or a JSON document with an array of rows.

A row that can be read exactly becomes a `UsageRow`. Any other becomes a `Reject` with its line number and the reason,
and reading continues, unless nobody can tell where the next row begins. Memory does not depend on the length of the
log. `records` splits the log into rows, `sources` finds their values, `values` reads them.
"""

from __future__ import annotations

import csv
import gzip
import os
import re
import shlex
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, Final, Literal, NamedTuple

from serving_network.addresses import to_checksum_address
from serving_network.errors import InvalidInput
from serving_network.messages.usage import (
    BadRow,
    Reading,
    Reject,
    UsageRow,
    identify_request,
    is_absent,
    shown,
)
from serving_network.untrusted import reason_of
from serving_network.usage_logs.columns import FIELDS, REQUIRED, Columns
from serving_network.usage_logs.records import (
    EXCERPT_CHARACTERS,
    JsonArray,
    Lines,
    Record,
    Unreadable,
    blocks_of,
    excerpt,
    quoting,
    records_of,
    whole_record,
)
from serving_network.usage_logs.shapes import SECONDS_DIGITS, Shape, csv_shape, json_shape
from serving_network.usage_logs.sources import Getter, csv_column, field, json_column, json_fields, kept
from serving_network.usage_logs.values import MAX_TOKENS, count, own_fees, parse_offset, parse_time, read_json

MAX_ROW: Final = 10**7
"""The default limit for the tokens of one kind in a row: ten times the longest context windows of today."""
Format = Literal["jsonl", "csv", "json"]

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_BLOCK: Final = 1 << 16
_STREAMS: Final = 10_000
_LINES_TRIED: Final = 5
_HASH_DIGITS: Final = 64
_new_row: Final = tuple.__new__
_SEPARATORS: Final = (",", ";", "\t")
_Reject = Callable[[Reject], None]


class _Parser(NamedTuple):
    """How the lines of a log are read.

    `parse` finds the fields of a row in its text, and whether it had a line end; None if the row is left out.
    `separator` is that of CSV. `shape` makes a shape of a line that is a row.
    """

    parse: Callable[[str, bool], Any]
    separator: str | None
    shape: Callable[[str], Shape | None]


class UnusableLog(InvalidInput):
    """The log as a whole cannot be read: no such file, no header, or the wrong encoding."""


class UsageLog:
    """One usage log on disk.

    `users` maps the log's user names to addresses; without it, the log must contain addresses. `provider` cannot be its
    own user. With `whole_last_line`, a last CSV line without a line end is accepted; otherwise it is rejected, because
    a truncated number looks like a number.

    `max_row` limits the input tokens and the output tokens of a row. A row above it is rejected: it is far more likely
    to be a counter or a metering bug than a request.

    `resume` lets `rows` begin where an earlier reading ended, except with `reread`.
    """

    def __init__(
        self,
        path: Path,
        columns: Columns | None = None,
        *,
        provider: str | None = None,
        users: Mapping[str, str] | None = None,
        log_format: Format | None = None,
        whole_last_line: bool = False,
        max_row: int = MAX_ROW,
        reread: bool = False,
    ) -> None:
        if not 0 < max_row <= MAX_TOKENS:
            raise InvalidInput(
                f"A limit of {max_row} tokens for one row is not possible.",
                next_step=f"Give --max-row a number from 1 to {MAX_TOKENS}.",
            )
        self.path = path
        self.columns = columns or Columns()
        self.format: Format = log_format or _format_of(path)
        self.left_out = 0
        self._document = self.format == "json" or (self.format == "jsonl" and bool(self.columns.rows))
        self._may_be_document = log_format is None and path.name.lower().removesuffix(".gz").endswith(".json")
        self._names = users
        self._provider = provider
        self._whole_last_line = whole_last_line
        self._max_row = max_row
        self._reread = reread
        self._id_is_row = self.columns.id_is_row
        self._id_with_time = self.columns.id_with_time
        self._from: Reading | None = None
        self._reading: Reading | None = None
        self._addresses: dict[str, str] = {}
        self._only_user = self._check_user()
        self._start = self._check_start()
        self._raw: IO[bytes] | None = None

    @property
    def name(self) -> str:
        """The path of the file."""
        return str(self.path.resolve())

    @property
    def ids_are_places(self) -> bool:
        """Whether a row is identified by its line number and content."""
        return self.columns.id_is_row

    def size(self) -> int:
        """Bytes on disk. Raises UnusableLog if there is no such file."""
        try:
            return self.path.stat().st_size
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def position(self) -> int:
        """Bytes on disk read so far by the current iteration."""
        return self._raw.tell() if self._raw is not None and not self._raw.closed else 0

    def resume(self, earlier: Reading) -> str | None:
        """Let `rows` begin where an earlier reading ended, if the log still begins with what was read then.

        Returns why it does not, empty if that is as it should be; None if it does.
        """
        self._from = None
        if self._reread or not earlier.offset:
            return ""
        try:
            with self.path.open("rb") as raw:
                change = self._change(raw, earlier)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if change is None:
            self._from = earlier
        return change

    def _change(self, raw: IO[bytes], earlier: Reading) -> str | None:
        """What happened to the file since an earlier reading; None if it only grew."""
        now = os.fstat(raw.fileno())
        number = f"{now.st_dev}:{now.st_ino}:"
        if not earlier.file.startswith(number):
            return f"another file is at {self.path} now. If the old one was moved, settle the rest of it as well"
        if now.st_size < earlier.offset:
            return "the file was truncated"
        found = self._reading_at(raw, earlier.offset, earlier.line)
        if found.header != earlier.header:
            return "its first line or the options for reading it changed"
        return None if found[:6] == earlier[:6] else "lines that were read before changed"

    def _reading_at(self, raw: IO[bytes], offset: int, line: int) -> Reading:
        """What identifies the file up to an offset."""
        descriptor = raw.fileno()
        now = os.fstat(descriptor)
        first = os.pread(descriptor, min(_BLOCK, offset), 0)
        last = os.pread(descriptor, min(_BLOCK, offset), max(0, offset - _BLOCK))
        options = self.columns, self.format, self._provider, self._whole_last_line, self._max_row
        names = sorted(self._names.items()) if self._names is not None else None
        how = f"{options!r} {names!r} ".encode()
        return Reading(
            self.name,
            f"{now.st_dev}:{now.st_ino}:{sha256(first).hexdigest()}",
            offset,
            line,
            sha256(how + first.partition(b"\n")[0]).digest(),
            sha256(last).digest(),
        )

    def reading(self) -> Reading:
        """How far the log was read, after the last row. Its offset is 0 if it cannot be read on from there."""
        return self._reading or Reading(self.name, "", 0, 1, b"", b"")

    def rows(self, reject: _Reject) -> Iterator[UsageRow]:
        """All rows that can be settled, in the order of the log. `reject` is called with the others.

        Raises UnusableLog if the file cannot be opened, is not UTF-8, or is a CSV that lacks a required column.
        """
        self.left_out = 0
        self._reading = None
        with self._opened() as raw:
            rows = self._rows(raw, reject)
            yield from _last_of_streams(rows) if self.columns.last_of_stream else rows

    def column_names(self) -> list[str]:
        """The names in the header of a CSV, or of the first row in JSON; none if there is no such row."""
        with self._opened() as raw:
            stream, document = self._stream(raw)
            if self.format == "csv":
                return self._header(iter(Lines(stream, _ignore)))[1]
            records = iter(JsonArray(stream, self.columns.rows) if document else Lines(stream, _ignore))
            try:
                row = read_json(next(records).content.decode("utf-8-sig"))
            except (Unreadable, StopIteration, ValueError):
                return []
            return list(row) if isinstance(row, dict) else []

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        try:
            raw = self.path.open("rb")
        except OSError as error:
            raise _unreadable(self.path, error) from error
        with raw:
            self._raw = raw
            yield raw

    def _stream(self, raw: Any) -> tuple[Any, bool]:
        """The text of the log as bytes, and whether it is a JSON document. Raises UnusableLog if it is in UTF-16."""
        stream = _unpacked(raw)
        try:
            head: bytes = stream.peek(1024)[:1024]
        except (EOFError, OSError, zlib.error):
            raw.seek(0)
            stream, head = _unpacked(raw), b""  # reading it reports the error
        self._check_encoding(head)
        array = self._may_be_document and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
        return stream, self._document or array

    def _rows(self, raw: IO[bytes], reject: _Reject) -> Iterator[UsageRow]:
        stream, document = self._stream(raw)
        try:
            if document:
                yield from self._read(iter(JsonArray(stream, self.columns.rows)), self._json_parser(), reject)
                return
            begin = self._from
            if begin is not None and self._change(raw, begin) is not None:
                raise UnusableLog(f"{self.path} was changed while it was read.", next_step="Run again.")
            lines = Lines(stream, reject, quotes=self.format == "csv")
            blocks = lines.blocks()
            if self.format == "csv":
                head = _two_lines(blocks)
                parser = self._csv_parser(head)
                blocks = chain(blocks_of(head), blocks)
            else:
                parser = self._json_parser()
            if begin is not None:
                raw.seek(begin.offset)
                lines = Lines(stream, reject, begin.offset, begin.line, quotes=self.format == "csv")
                blocks = lines.blocks()
            yield from chain.from_iterable(self._read_blocks(blocks, parser, reject))
        except Unreadable as end:
            reject(end.reject)
            return
        if stream is raw:
            self._reading = self._reading_at(raw, lines.offset, lines.number)

    def _check_encoding(self, head: bytes) -> None:
        """Raise UnusableLog if a log that begins like this is in UTF-16."""
        name = "UTF-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else None
        if head[1:4:2] == b"\0\0" and head[0]:
            name = "UTF-16LE"
        if head[0:3:2] == b"\0\0" and head[1]:
            name = "UTF-16BE"
        if name is not None:
            quoted = shlex.quote(str(self.path))
            raise UnusableLog(
                f"{self.path} is encoded in UTF-16.",
                next_step=f"iconv -f {name} -t UTF-8 {quoted} > usage.utf8, and settle usage.utf8.",
            )

    def _read_blocks(self, blocks: Iterator[Record], parser: _Parser, reject: _Reject) -> Iterator[Iterable[UsageRow]]:
        """The rows of blocks of lines, in groups. Lines of the shape of an earlier one are read in one step."""
        shape = None
        for block in blocks:
            if parser.separator is not None and b'"' in block.content:
                yield self._read(records_of(chain([block], blocks)), parser, reject)
                return
            text = _text(block)
            shape = shape or _first_shape(text, parser)
            if shape is None or not text:
                yield self._read(records_of([block]), parser, reject)
                continue
            found = shape.lines.findall(text)
            others = yield from self._quick(block, found, shape, lambda one: self._read(iter([one]), parser, reject))
            if others > len(found) // 2:
                shape = None

    def _quick(
        self,
        block: Record,
        found: list[Any],
        shape: Shape,
        carefully: Callable[[Record], Iterator[UsageRow]],
    ) -> Generator[Iterable[UsageRow], None, int]:
        """The rows of a block in groups, in their order. Returns how many lines were left to be read carefully."""
        rows: list[UsageRow] = []
        lines = block.content.split(b"\n") if self._id_is_row else []
        others = 0
        pick = shape.plain if self._only_user is None else None
        in_seconds = shape.seconds and self._start is None
        addresses, as_spelled, limit, flag = self._addresses, self._names is None, self._max_row, self._id_with_time
        for number, captured in enumerate(found, block.number):
            try:
                if pick is None:
                    if not any(captured):
                        raise BadRow("another shape")
                    content = lines[number - block.number] if lines else b""
                    rows.append(self._row(number, content, shape.values(captured)))
                    continue
                request_id, user, time, input_text, output_text = pick(captured)
                address = addresses.get(user) or self._user(user)[0]
                if len(request_id) < _HASH_DIGITS:
                    request_hash = sha256(request_id.strip().encode()).digest()
                    request_text = "0x" + request_hash.hex()
                else:
                    request_hash, request_text = identify_request(request_id)
                if in_seconds and len(time) <= SECONDS_DIGITS:
                    microseconds = int(time) * 1_000_000
                else:
                    microseconds = self._time(shape.time_of(time))
                input_tokens, output_tokens = int(input_text), int(output_text)
                if input_tokens > limit or output_tokens > limit:
                    raise BadRow("too many tokens")
            except BadRow:
                others += 1
                lines = lines or block.content.split(b"\n")
                yield rows
                rows = []
                yield carefully(Record(number, lines[number - block.number], True))
                continue
            user_text = user.strip() if as_spelled and user != address else address
            rows.append(
                _new_row(
                    UsageRow,
                    (
                        number, request_hash, request_text, address, user_text, microseconds, input_tokens,
                        output_tokens, None, 0, 0, 0, flag,
                    ),
                )
            )  # fmt: skip
        yield rows
        return others

    def _read(self, records: Iterator[Record], parser: _Parser, reject: _Reject) -> Iterator[UsageRow]:
        """The rows of records, read one by one."""
        separator = parser.separator
        for record in records:
            number, content, whole = record
            if not content.strip():
                continue
            if separator is not None and b'"' in content:
                number, content, whole = whole_record(record, records, separator)
            try:
                text = content.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                reject(Reject(number, f"wrong encoding: not UTF-8 at byte {error.start + 1}", excerpt(content)))
                continue
            try:
                values = parser.parse(text, whole)
                if values is None:
                    self.left_out += 1
                    continue
                row = self._row(number, content, values)
            except _BrokenQuote as error:
                raise Unreadable(number, str(error), content) from error
            except BadRow as error:
                reject(Reject(number, str(error), text[:EXCERPT_CHARACTERS]))
                continue
            yield row

    def _json_parser(self) -> _Parser:
        fields_of, keep = json_fields(self.columns), kept(self.columns, json_column)

        def values(text: str, whole: bool) -> Any:
            try:
                row = read_json(text)
            except BadRow:
                raise
            except ValueError as error:
                if not whole:
                    raise BadRow("incomplete last line: the log ends in the middle of a row") from error
                raise BadRow(f"broken JSON: {error}") from error
            if not isinstance(row, dict):
                raise BadRow("not a JSON object")
            return fields_of(row) if keep is None or keep(row) else None

        return _Parser(values, None, lambda text: json_shape(text, fields_of, self.columns))

    def _csv_parser(self, lines: Iterator[Record]) -> _Parser:
        separator, header = self._header(lines)
        width = len(header)
        fields_of = self._csv_fields(header)
        try:
            keep = kept(self.columns, lambda name: csv_column(name, header))
        except KeyError as error:
            raise UnusableLog(
                f"{self.path} has no column {error.args[0]}: the header is {', '.join(header)}.",
                cause="--skip and --only name columns of the log.",
                next_step="Name another column, or another --preset.",
            ) from error
        closed = quoting(separator).closed

        def values(text: str, whole: bool) -> Any:
            text = text.removesuffix("\r")
            if '"' in text:
                try:
                    fields = next(csv.reader([text], strict=True, delimiter=separator))
                except csv.Error as error:
                    if not closed.fullmatch(text.encode()):
                        raise _BrokenQuote(
                            f"broken CSV: {error}. Nothing from this line on was read: fix the quote and run again"
                        ) from error
                    raise BadRow(f"broken CSV: {error}") from error
            else:
                fields = text.split(separator)
            if not whole and (len(fields) != width or not self._whole_last_line):
                raise BadRow(
                    "incomplete last line: no line end, so its last value may be cut off (--whole-last-line accepts it)"
                )
            if len(fields) != width:
                raise BadRow(f"{len(fields)} columns where the header has {width}")
            return fields_of(fields) if keep is None or keep(fields) else None

        return _Parser(values, separator, lambda text: csv_shape(text, separator, header, fields_of, self.columns))

    def _header(self, lines: Iterator[Record]) -> tuple[str, list[str]]:
        """The separator and the column names, from a `sep=` line and the header line."""
        line = next(lines, None)
        if line is None:
            raise UnusableLog(f"{self.path} is empty.", next_step="Give a log with a header line.")
        try:
            text = line.content.decode("utf-8-sig").removesuffix("\r")
            separators: tuple[str, ...] = _SEPARATORS
            if text.lower().startswith("sep=") and text[4:] in _SEPARATORS:
                separators = (text[4:],)
                text = next(lines, line).content.decode()
        except UnicodeDecodeError as error:
            raise self._no_header(error) from error
        found: tuple[str, list[str]] = "", []
        failure: Exception = ValueError("the first line is empty")
        for one in separators:
            try:
                names = [name.strip() for name in next(csv.reader([text], strict=True, delimiter=one), [])]
            except csv.Error as error:
                failure = error
                continue
            found = max(found, (one, names), key=lambda tried: len(tried[1]))
        if not found[1]:
            raise self._no_header(failure) from failure
        return found

    def _no_header(self, error: Exception) -> UnusableLog:
        return UnusableLog(
            f"The header of {self.path} is not CSV in UTF-8.",
            cause=f"{reason_of(error)}.",
            next_step="Put the column names in the first line.",
        )

    def _csv_fields(self, header: list[str]) -> Getter:
        """The values of a CSV row's fields, in the order of FIELDS."""
        nothing = len(header)
        places: list[int] = []
        getters: list[Getter] = []
        for meaning in FIELDS:
            place, getter = self._csv_field(meaning, header)
            places.append(nothing if place is None else place)
            getters.append(getter)
        if all(getter is _nothing or place != nothing for getter, place in zip(getters, places, strict=True)):
            pick = itemgetter(*places)

            def fields_of(row: list[str]) -> Any:
                row.append("")
                return pick(row)

            return fields_of
        return lambda row: [getter(row) for getter in getters]

    def _csv_field(self, meaning: str, header: list[str]) -> tuple[int | None, Getter]:
        """A field's place in a CSV row if it is a column of its own, and its getter."""
        if meaning == "id" and self.columns.id_is_row:
            return None, _nothing
        names = self.columns.candidates(meaning)
        if meaning not in self.columns.named:
            names = tuple(name for name in names if name in header)[:1]
        getter = field(meaning, names, self.columns.absent, lambda name: csv_column(name, header))
        if getter is None:
            if (meaning in self.columns.named or meaning in REQUIRED) and not self._is_given(meaning, header):
                raise UnusableLog(
                    f"{self.path} has no column for {meaning}: the header is {', '.join(header)}.",
                    cause=f"Looked for {', '.join(self.columns.candidates(meaning))}.",
                    next_step=f"--map {meaning}=COLUMN" + (" or --map id=@row" if meaning == "id" else ""),
                )
            return None, _nothing
        for name in names:
            if header.count(name) > 1:
                raise UnusableLog(
                    f"{self.path} has two columns called {name}.", next_step="Rename one of them in the header."
                )
        alone = len(names) == 1 and not self.columns.absent and names[0] in header
        return header.index(names[0]) if alone else None, getter

    def _is_given(self, meaning: str, header: list[str]) -> bool:
        """Whether a field needs no column: one user for all rows, or fees instead of tokens."""
        if meaning == "user":
            return self._only_user is not None
        fees = ({"fee", "output_fee"} & set(header)) - set(self.columns.ignore)
        return meaning in REQUIRED and meaning.endswith("_tokens") and bool(fees)

    def _row(self, number: int, content: bytes, values: Any) -> UsageRow:
        (
            request_id, user, time, input_tokens, output_tokens, fee, input_fee, output_fee, cached, images, seconds,
        ) = values  # fmt: skip
        if self._id_is_row:
            request_hash = sha256(b"serving usage row\0%d\0%b" % (number, content.rstrip(b"\r"))).digest()
            request_text = "0x" + request_hash.hex()
        else:
            request_hash, request_text = identify_request(request_id)
        fees = own_fees(fee, input_fee, output_fee)
        if fees is not None or images or seconds:
            input_tokens = 0 if is_absent(input_tokens) else input_tokens
            output_tokens = 0 if is_absent(output_tokens) else output_tokens
        address, user_text = self._only_user or self._user(user)
        row = UsageRow(
            number,
            request_hash,
            request_text,
            address,
            user_text,
            self._time(time),
            self._tokens(input_tokens, "input tokens"),
            self._tokens(output_tokens, "output tokens"),
            fees,
        )
        if self._id_with_time:
            row = row._replace(id_with_time=True)
        if cached or images or seconds:
            return self._with_other_units(row, cached, images, seconds)
        return row

    def _with_other_units(self, row: UsageRow, cached: Any, images: Any, seconds: Any) -> UsageRow:
        cached, images, seconds = (
            0 if is_absent(value) else self._tokens(value, what)
            for value, what in ((cached, "cached tokens"), (images, "images"), (seconds, "seconds"))
        )
        if cached > row.input_tokens:
            raise BadRow(
                f"{cached} cached tokens of {row.input_tokens} input tokens: cached tokens are a part of the input"
                " tokens (--map input_tokens=A+B adds columns)"
            )
        return row._replace(cached_tokens=cached, images=images, seconds=seconds)

    def _time(self, value: Any) -> int:
        """Microseconds since 1970."""
        if self._start is None:
            return parse_time(value)
        return self._start + parse_offset(value, self.columns.time_unit or "s")

    def _tokens(self, value: Any, what: str) -> int:
        tokens = count(value, what, MAX_TOKENS)
        if tokens > self._max_row:
            raise BadRow(f"too many {what}: {tokens}, the limit for one row is {self._max_row} (--max-row)")
        return tokens

    def _user(self, user: Any) -> tuple[str, str]:
        """The address of a row's user, and its spelling in the requests hash."""
        if is_absent(user):
            raise BadRow("missing column: user")
        if not isinstance(user, str):
            raise BadRow(f"bad address: {shown(user)}")
        name = user.strip()
        known = self._addresses.get(name)
        if known is None:
            known = self._resolve(name)
            self._addresses[name] = known
        return known, known if self._names is not None else name

    def _resolve(self, name: str) -> str:
        text = name
        if self._names is not None:
            listed = self._names.get(name)
            if listed is None:
                raise BadRow(f"unknown user: {shown(name)} is not on the list of users")
            text = listed
        if not _ADDRESS.fullmatch(text):
            raise BadRow(f"bad address: {shown(text)}")
        address = str(to_checksum_address(text))
        digits = text[2:]
        if text != address and digits != digits.lower() and digits != digits.upper():
            raise BadRow(f"bad address: {text} fails its checksum")
        if not int(text, 16):
            raise BadRow("bad address: the zero address")
        if address == self._provider:
            raise BadRow("bad address: the provider cannot be its own user")
        return address

    def _check_user(self) -> tuple[str, str] | None:
        """The one user of all rows. Raises InvalidInput if it is no address."""
        if not self.columns.user:
            return None
        try:
            return self._user(self.columns.user)
        except BadRow as error:
            raise InvalidInput(
                f"The user of the log cannot be used: {error}.",
                next_step="Give --user an address, or a name of --users.",
            ) from error

    def _check_start(self) -> int | None:
        """The time that all times are offsets from. Raises InvalidInput if it is no time, or is needed and missing."""
        if not self.columns.start:
            if self.columns.time_unit:
                raise InvalidInput(
                    "The times of this log are offsets.",
                    next_step="Add the time of its start: --start 2026-11-28T00:00Z",
                )
            return None
        try:
            return parse_time(self.columns.start)
        except BadRow as error:
            raise InvalidInput(f"{error}.", next_step="Write --start as in 2026-11-28T00:00Z.") from error


class _BrokenQuote(BadRow):
    """A quoted field goes on behind its closing quote, so nobody can tell where the record ends."""


def _last_of_streams(rows: Iterator[UsageRow]) -> Iterator[UsageRow]:
    """The rows, but of those that report one stream with growing usage only the last.

    Rows of streams that run at the same time may alternate. A stream ends with the log, or when _STREAMS others began
    or went on since.
    """
    open_: dict[bytes, UsageRow] = {}
    for row in rows:
        earlier = open_.pop(row.request_hash, None)
        if earlier is not None and not row.continues(earlier):
            yield earlier
        open_[row.request_hash] = row
        if len(open_) > _STREAMS:
            yield open_.pop(next(iter(open_)))
    yield from open_.values()


def _unpacked(raw: Any) -> Any:
    """The content of a log that may be compressed."""
    return gzip.GzipFile(fileobj=raw) if raw.peek(2).startswith(b"\x1f\x8b") else raw


def _two_lines(blocks: Iterator[Record]) -> Iterator[Record]:
    """The lines of the first block; of the first two if it has only one, for a header may have two."""
    first = next(blocks, None)
    if first is None:
        return iter(())
    second = next(blocks, None) if b"\n" not in first.content else None
    return records_of([first] if second is None else [first, second])


def _text(block: Record) -> str:
    """The text of whole lines, each with its line end; empty if it is not UTF-8 or the last line has no end."""
    if not block.whole:
        return ""
    try:
        return block.content.decode() + "\n"
    except UnicodeDecodeError:
        return ""


def _first_shape(text: str, parser: _Parser) -> Shape | None:
    """The shape of the first of a few lines that has one and is a row."""
    for line in text.split("\n", _LINES_TRIED)[:_LINES_TRIED]:
        try:
            if parser.parse(line, True) is not None and (found := parser.shape(line)) is not None:
                return found
        except BadRow:
            continue
    return None


def _ignore(reject: Reject) -> None:
    """Do nothing with a reject."""


def _nothing(row: Any) -> None:
    """The value of a field without a column."""


def _format_of(path: Path) -> Format:
    suffix = Path(path.stem).suffix if path.suffix.lower() == ".gz" else path.suffix
    if suffix.lower() in {".csv", ".tsv"}:
        return "csv"
    if suffix.lower() in {".jsonl", ".ndjson", ".json"}:
        return "jsonl"
    raise UnusableLog(
        f"The format of {path} is not clear from its name.",
        next_step="Add --format jsonl, --format csv or --format json.",
    )


def _unreadable(path: Path, error: OSError) -> UnusableLog:
    return UnusableLog(
        f"{path} cannot be read.", cause=f"{reason_of(error)}.", next_step="Give the path of a usage log."
    )
