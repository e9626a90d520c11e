# SPDX-License-Identifier: Apache-2.0
"""Read a provider's usage log as a stream: one request per line, as JSON Lines or CSV, plain or gzipped.

A row that can be read exactly becomes a `UsageRow`. Any other becomes a `Reject` with its line number and the reason,
and reading continues: a broken row never affects the others. Memory does not depend on the length of the log.

Lines end with a line feed. A CSV field may be quoted but must not contain a line end. Amounts are whole numbers:
tokens, and wei for fees in a row.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, NoReturn

from eth_utils.address import to_checksum_address

from serving_network.errors import InvalidInput
from serving_network.messages.usage import (
    MAX_FEE,
    BadRow,
    Reject,
    UsageRow,
    identify_request,
    is_absent,
    shown,
    text_of,
)
from serving_network.untrusted import MAX_NESTING, too_deep
from serving_network.usage_logs.columns import FIELDS, REQUIRED, Columns

MAX_LINE_BYTES: Final = 1 << 20
MAX_TOKENS: Final = 10**12
"""The upper bound for `max_row`."""
MAX_ROW: Final = 10**7
"""The default limit for the tokens of one kind in a row: ten times the longest context windows of today."""
Format = Literal["jsonl", "csv"]

_BLOCK: Final = 1 << 18
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_UNIX_TIME = re.compile(r"\d{1,13}(?:\.\d{1,9})?", re.ASCII)
_LONG_NUMBER = re.compile(r"\d{9,}(?:\.\d*)?", re.ASCII)
"""Digits that are not an eight-digit date, even if an ISO 8601 parser accepts some: 1712011512345 is not in 1712."""
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_EXCERPT_CHARACTERS: Final = 500


class UnusableLog(InvalidInput):
    """The log as a whole cannot be read: no such file, no header, or the wrong encoding."""


class _Fraction(str):
    """A JSON number with a point or an exponent, kept as it was written."""

    __slots__ = ()


def _no_constant(name: str) -> NoReturn:
    raise BadRow(f"{name} is not a number")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise BadRow("duplicate field: it is ambiguous which value is meant")
    return row


_DECODER = json.JSONDecoder(parse_float=_Fraction, parse_constant=_no_constant, object_pairs_hook=_each_key_once)
_RawRow = tuple[Any, ...]
"""The values of one row in the order of columns.FIELDS; None for missing ones."""


class UsageLog:
    """One usage log on disk.

    `users` maps the log's user names to addresses; without it, the log must contain addresses. `provider` cannot be its
    own user. With `whole_last_line`, a last CSV line without a line end is accepted; otherwise it is rejected, because
    a truncated number looks like a number.

    `max_row` limits the input tokens and the output tokens of a row. A row above it is rejected: it is far more likely
    to be a counter or a metering bug than a request.
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
    ) -> None:
        if not 0 < max_row <= MAX_TOKENS:
            raise InvalidInput(
                f"A limit of {max_row} tokens for one row is not possible.",
                next_step=f"Give --max-row a number from 1 to {MAX_TOKENS}.",
            )
        self.path = path
        self.columns = columns or Columns()
        self.format: Format = log_format or _format_of(path)
        self._names = users
        self._provider = provider
        self._whole_last_line = whole_last_line
        self._max_row = max_row
        self._addresses: dict[str, str] = {}
        self._wanted = tuple(
            () if meaning == "id" and self.columns.id_is_row else self.columns.candidates(meaning) for meaning in FIELDS
        )
        self._raw: io.BufferedReader | None = None

    def size(self) -> int:
        """Bytes on disk. Raises UnusableLog if there is no such file."""
        try:
            return self.path.stat().st_size
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def position(self) -> int:
        """Bytes on disk read so far by the current iteration."""
        return self._raw.tell() if self._raw is not None and not self._raw.closed else 0

    def rows(self, reject: Callable[[Reject], None]) -> Iterator[UsageRow]:
        """All rows that can be settled, in the order of the log. `reject` is called with the others.

        Raises UnusableLog if the file cannot be opened, is not UTF-8, or is a CSV that lacks a required column.
        """
        try:
            raw = self.path.open("rb")
        except OSError as error:
            raise _unreadable(self.path, error) from error
        with raw:
            self._raw = raw
            head = raw.peek(4)
            if head.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise UnusableLog(
                    f"{self.path} is encoded in UTF-16.",
                    next_step=f"iconv -f UTF-16 -t UTF-8 {self.path} > usage.utf8, and settle usage.utf8.",
                )
            stream: Any = gzip.GzipFile(fileobj=raw) if head.startswith(b"\x1f\x8b") else raw
            yield from self._read(_lines(stream, reject), reject)

    def _read(self, lines: Iterator[_Line], reject: Callable[[Reject], None]) -> Iterator[UsageRow]:
        read_line = self._json_values if self.format == "jsonl" else self._csv_reader(lines)
        for number, content, whole in lines:
            if not content.strip():
                continue
            try:
                text = content.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                reject(Reject(number, f"wrong encoding: not UTF-8 at byte {error.start + 1}", _excerpt(content)))
                continue
            try:
                row = self._row(number, content, read_line(text, whole))
            except BadRow as error:
                reject(Reject(number, str(error), text[:_EXCERPT_CHARACTERS]))
                continue
            yield row

    def _json_values(self, text: str, whole: bool) -> _RawRow:
        if too_deep(text):
            raise BadRow(f"JSON nested more than {MAX_NESTING} levels deep")
        try:
            row = _DECODER.decode(text)
        except BadRow:
            raise
        except ValueError as error:
            if not whole:
                raise BadRow("incomplete last line: the log ends in the middle of a row") from error
            raise BadRow(f"broken JSON: {error}") from error
        if not isinstance(row, dict):
            raise BadRow("not a JSON object")
        return tuple(_find(row, names) for names in self._wanted)

    def _csv_reader(self, lines: Iterator[_Line]) -> Callable[[str, bool], _RawRow]:
        header_line = next(lines, None)
        if header_line is None:
            raise UnusableLog(f"{self.path} is empty.", next_step="Give a log with a header line.")
        try:
            header = next(csv.reader([header_line.content.decode("utf-8-sig")], strict=True))
        except (UnicodeDecodeError, csv.Error, StopIteration) as error:
            raise UnusableLog(
                f"The header of {self.path} is not CSV in UTF-8.",
                cause=str(error),
                next_step="Put the column names in the first line.",
            ) from error
        places = self._places([name.strip() for name in header])
        width = len(header)

        def values(text: str, whole: bool) -> _RawRow:
            text = text.removesuffix("\r")
            if '"' in text:
                try:
                    fields = next(csv.reader([text], strict=True))
                except csv.Error as error:
                    raise BadRow("incomplete last line" if not whole else f"broken CSV: {error}") from error
            else:
                fields = text.split(",")
            if not whole and (len(fields) != width or not self._whole_last_line):
                raise BadRow(
                    "incomplete last line: no line end, so its last value may be cut off (--whole-last-line accepts it)"
                )
            if len(fields) != width:
                raise BadRow(f"{len(fields)} columns where the header has {width}")
            return tuple(None if place is None else fields[place] for place in places)

        return values

    def _places(self, header: list[str]) -> list[int | None]:
        """The position of each field in a CSV row."""
        places: list[int | None] = []
        for meaning in FIELDS:
            if meaning == "id" and self.columns.id_is_row:
                places.append(None)
                continue
            found = next((name for name in self.columns.candidates(meaning) if name in header), None)
            if found is None and (meaning in self.columns.named or meaning in REQUIRED):
                if meaning.endswith("_tokens") and {"fee", "output_fee"} & set(header):
                    places.append(None)
                    continue
                raise UnusableLog(
                    f"{self.path} has no column for {meaning}: the header is {', '.join(header)}.",
                    cause=f"Looked for {', '.join(self.columns.candidates(meaning))}.",
                    next_step=f"--map {meaning}=COLUMN" + (" or --map id=@row" if meaning == "id" else ""),
                )
            if found is not None and header.count(found) > 1:
                raise UnusableLog(
                    f"{self.path} has two columns called {found}.", next_step="Rename one of them in the header."
                )
            places.append(None if found is None else header.index(found))
        return places

    def _row(self, number: int, content: bytes, values: _RawRow) -> UsageRow:
        request_id, user, time, input_tokens, output_tokens, fee, input_fee, output_fee = values
        if self.columns.id_is_row:
            request_hash = sha256(b"serving usage row\0%d\0%b" % (number, content.rstrip(b"\r"))).digest()
            request_text = "0x" + request_hash.hex()
        else:
            request_hash, request_text = identify_request(request_id)
        fees = _own_fees(fee, input_fee, output_fee)
        if fees is not None:
            input_tokens = 0 if is_absent(input_tokens) else input_tokens
            output_tokens = 0 if is_absent(output_tokens) else output_tokens
        address, user_text = self._user(user)
        return UsageRow(
            number,
            request_hash,
            request_text,
            address,
            user_text,
            parse_time(time),
            self._tokens(input_tokens, "input tokens"),
            self._tokens(output_tokens, "output tokens"),
            fees,
        )

    def _tokens(self, value: Any, what: str) -> int:
        tokens = _count(value, what, MAX_TOKENS)
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
        if self._provider is not None and address == self._provider:
            raise BadRow("bad address: the provider cannot be its own user")
        return address


def _find(row: dict[str, Any], names: tuple[str, ...]) -> Any:
    """The first of the named values that a JSON row has; a dot reaches into an object."""
    for name in names:
        found = row.get(name)
        if found is not None:
            return found
        if "." in name:
            found = row
            for part in name.split("."):
                found = found.get(part) if isinstance(found, dict) else None
            if found is not None:
                return found
    return None


def parse_time(time: Any) -> int:
    """Microseconds since 1970 UTC, from ISO 8601 (UTC unless it has a time zone), unix seconds or milliseconds.

    Numbers from 10**11 on are milliseconds. Raises ValueError with the reason for anything else.
    """
    if is_absent(time):
        raise BadRow("missing column: time")
    if isinstance(time, str) and not isinstance(time, _Fraction) and not _LONG_NUMBER.fullmatch(time.strip()):
        try:
            moment = datetime.fromisoformat(time.strip())
        except ValueError:
            pass
        else:
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            return (moment - _EPOCH) // _MICROSECOND
    if isinstance(time, bool) or not isinstance(time, (int, str)) or not _UNIX_TIME.fullmatch(text_of(time)):
        raise BadRow(f"bad time: {shown(time)}")
    whole, _, part = str(time).partition(".")
    seconds = int(whole)
    if seconds >= 10**11:
        return seconds * 1000 + int(part[:3].ljust(3, "0") or 0)
    return seconds * 1_000_000 + int(part[:6].ljust(6, "0") or 0)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = datetime.resolution


def _count(value: Any, what: str, limit: int) -> int:
    if type(value) is int:
        count = value
    elif type(value) is str and value.isascii() and value.isdigit() and len(value) < 100:
        count = int(value)
    else:
        return _uncountable(value, what, limit)
    if count < 0:
        raise BadRow(f"negative {what}: {shown(value)}")
    if count > limit:
        raise BadRow(f"{what} out of range: {shown(value)}, the limit is {limit}")
    return count


def _uncountable(value: Any, what: str, limit: int) -> int:
    """Raise the reason why a value is not a count, or return the count without surrounding blanks."""
    if is_absent(value):
        raise BadRow(f"missing column: {what}")
    if isinstance(value, str):
        text = value.strip()
        if text != value:
            return _count(text, what, limit)
        if text.isascii() and text.isdigit():
            raise BadRow(f"{what} out of range: {shown(text)}, the limit is {limit}")
        if _DECIMAL.fullmatch(text) and text[0] == "-":
            raise BadRow(f"negative {what}: {shown(text)}")
        if _DECIMAL.fullmatch(text) and not text[1:].isdigit():
            raise BadRow(f"fractional {what}: {shown(text)}")
    raise BadRow(f"{what} are not a whole number: {shown(value)}")


def _own_fees(fee: Any, input_fee: Any, output_fee: Any) -> tuple[int, int] | None:
    """The fees in wei that a row specifies. A `fee` alone counts as output fee."""
    if is_absent(fee) and is_absent(input_fee) and is_absent(output_fee):
        return None
    if is_absent(input_fee) and is_absent(output_fee):
        return 0, _count(fee, "fee", MAX_FEE)
    if is_absent(input_fee) or is_absent(output_fee):
        raise BadRow(f"missing column: {'input' if is_absent(input_fee) else 'output'} fee, required with the other")
    fees = _count(input_fee, "input fee", MAX_FEE), _count(output_fee, "output fee", MAX_FEE)
    if not is_absent(fee) and _count(fee, "fee", 2 * MAX_FEE) != sum(fees):
        raise BadRow(f"the fee is {shown(fee)}, but input and output fee add up to {sum(fees)}")
    return fees


class _Line(NamedTuple):
    """A line without its line end; `whole` is whether it had one."""

    number: int
    content: bytes
    whole: bool


def _lines(stream: Any, reject: Callable[[Reject], None]) -> Iterator[_Line]:
    """The lines of a stream. Rejects lines that are too long, and the line at which a compressed stream is cut off."""
    number = 1
    rest = b""
    too_long = False
    while True:
        try:
            block = stream.read(_BLOCK)
        except (EOFError, OSError, zlib.error) as error:
            reject(Reject(number, f"the compressed log is cut off: {error}", _excerpt(rest)))
            return
        if not block:
            break
        first, *others = block.split(b"\n")
        rest = rest if too_long else rest + first
        if not others and len(rest) > MAX_LINE_BYTES and not too_long:
            reject(Reject(number, f"line too long: more than {MAX_LINE_BYTES} bytes", _excerpt(rest)))
            rest, too_long = b"", True
        for following in others:
            if not too_long:
                yield _Line(number, rest, True)
            rest, too_long = following, False
            number += 1
    if rest and not too_long:
        yield _Line(number, rest, False)


def _excerpt(content: bytes) -> str:
    return content[:_EXCERPT_CHARACTERS].decode("utf-8", "backslashreplace")


def _format_of(path: Path) -> Format:
    suffix = Path(path.stem).suffix if path.suffix.lower() == ".gz" else path.suffix
    if suffix.lower() == ".csv":
        return "csv"
    if suffix.lower() in {".jsonl", ".ndjson", ".json"}:
        return "jsonl"
    raise UnusableLog(
        f"The format of {path} is not clear from its name.", next_step="Add --format jsonl or --format csv."
    )


def _unreadable(path: Path, error: OSError) -> UnusableLog:
    return UnusableLog(
        f"{path} cannot be read.", cause=error.strerror or str(error), next_step="Give the path of a usage log."
    )
