# SPDX-License-Identifier: Apache-2.0
"""Values of a usage log: whole numbers, fees and times. A value that cannot be read exactly raises BadRow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NoReturn

from serving_network.messages.usage import MAX_FEE, BadRow, is_absent, shown, text_of
from serving_network.untrusted import MAX_NESTING, too_deep

MAX_TOKENS: Final = 10**12
"""The upper bound for `max_row`."""
MICROSECONDS: Final[dict[str, Decimal]] = {
    "s": Decimal(10**6), "ms": Decimal(1000), "us": Decimal(1), "ns": Decimal("0.001"),
}  # fmt: skip
"""Microseconds in each unit."""

_UNIX_TIME = re.compile(r"\d{1,13}(?:\.\d{1,9})?|\d{16}|\d{19}", re.ASCII)
_LONG_NUMBER = re.compile(r"\d{9,}(?:\.\d*)?", re.ASCII)
"""Digits that are not an eight-digit date, even if an ISO 8601 parser accepts some: 1712011512345 is not in 1712."""
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE_AS_FLOAT = re.compile(r"\d{1,30}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,2})?", re.ASCII)


class Fraction(str):
    """A JSON number with a point or an exponent, kept as it was written."""

    __slots__ = ()


def _no_constant(name: str) -> NoReturn:
    raise BadRow(f"{name} is not a number")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise BadRow("duplicate field: it is ambiguous which value is meant")
    return row


_DECODER = json.JSONDecoder(parse_float=Fraction, parse_constant=_no_constant, object_pairs_hook=_each_key_once)
_LENIENT = json.JSONDecoder(
    parse_float=Fraction, parse_constant=_no_constant, object_pairs_hook=_each_key_once, strict=False
)


def read_json(text: str) -> Any:
    """The value of a JSON text. Raises BadRow if it is ambiguous or nested too deep, and ValueError if it is broken."""
    if too_deep(text):
        raise BadRow(f"JSON nested more than {MAX_NESTING} levels deep")
    return _DECODER.decode(text)


def follow(value: Any, path: Iterable[str]) -> Any:
    """The value at a path of field names in a JSON value, None if there is none.

    A text that holds a JSON object is read as that object: databases export JSON columns as text, some with raw line
    breaks in it.
    """
    for name in path:
        if isinstance(value, str) and value.lstrip().startswith("{"):
            if too_deep(value):
                raise BadRow(f"JSON nested more than {MAX_NESTING} levels deep")
            try:
                value = _LENIENT.decode(value.strip())
            except BadRow:
                raise
            except ValueError as error:
                raise BadRow(f"broken JSON in a column: {error}") from error
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def count(value: Any, what: str, limit: int) -> int:
    """A whole number from 0 to `limit`. Whole numbers that are written as floats, such as 120.0, count as well."""
    if type(value) is int:
        found = value
    elif type(value) is str and value.isascii() and value.isdigit() and len(value) < 100:
        found = int(value)
    else:
        return _uncommon_count(value, what, limit)
    if found < 0:
        raise BadRow(f"negative {what}: {shown(value)}")
    if found > limit:
        raise BadRow(f"{what} out of range: {shown(value)}, the limit is {limit}")
    return found


def _uncommon_count(value: Any, what: str, limit: int) -> int:
    """A count with blanks around it or written as a float. Raises the reason if it is no count."""
    if is_absent(value):
        raise BadRow(f"missing column: {what}")
    if isinstance(value, str):
        text = value.strip()
        if text != value:
            return count(text, what, limit)
        if text.isascii() and text.isdigit():
            raise BadRow(f"{what} out of range: {shown(text)}, the limit is {limit}")
        if _WHOLE_AS_FLOAT.fullmatch(text):
            number = Decimal(text)
            if number > limit:
                raise BadRow(f"{what} out of range: {shown(text)}, the limit is {limit}")
            if number == int(number):
                return int(number)
        if _DECIMAL.fullmatch(text) and text[0] == "-":
            raise BadRow(f"negative {what}: {shown(text)}")
        if _DECIMAL.fullmatch(text) and not text[1:].isdigit():
            raise BadRow(f"fractional {what}: {shown(text)}")
    raise BadRow(f"{what} are not a whole number: {shown(value)}")


def own_fees(fee: Any, input_fee: Any, output_fee: Any) -> tuple[int, int] | None:
    """The fees in wei that a row specifies. A `fee` alone counts as output fee."""
    if is_absent(fee) and is_absent(input_fee) and is_absent(output_fee):
        return None
    try:
        if is_absent(input_fee) and is_absent(output_fee):
            return 0, count(fee, "fee", MAX_FEE)
        if is_absent(input_fee) or is_absent(output_fee):
            missing = "input" if is_absent(input_fee) else "output"
            raise BadRow(f"missing column: {missing} fee, required with the other")
        fees = count(input_fee, "input fee", MAX_FEE), count(output_fee, "output fee", MAX_FEE)
        if not is_absent(fee) and count(fee, "fee", 2 * MAX_FEE) != sum(fees):
            raise BadRow(f"the fee is {shown(fee)}, but input and output fee add up to {sum(fees)}")
    except BadRow as error:
        if str(error).startswith("fractional"):
            raise BadRow(f"{error}. Fees are whole wei; --ignore COLUMN prices the tokens instead") from error
        raise
    return fees


def parse_time(time: Any) -> int:
    """Microseconds since 1970 UTC, from ISO 8601 (UTC unless it has a time zone) or a number since 1970.

    Numbers up to 10**11 are seconds, those up to 13 digits milliseconds, of 16 digits microseconds, and of 19 digits
    nanoseconds. Raises BadRow with the reason for anything else.
    """
    if is_absent(time):
        raise BadRow("missing column: time")
    if isinstance(time, str) and not isinstance(time, Fraction) and not _LONG_NUMBER.fullmatch(time.strip()):
        try:
            moment = datetime.fromisoformat(time.strip())
        except ValueError:
            pass
        else:
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            return (moment - _EPOCH) // _MICROSECOND
    if not _UNIX_TIME.fullmatch(text_of(time)):
        raise BadRow(f"bad time: {shown(time)}")
    whole, _, part = str(time).partition(".")
    number = int(whole)
    if len(whole) > 13:
        return number if len(whole) == 16 else number // 1000
    if number >= 10**11:
        return number * 1000 + int(part[:3].ljust(3, "0"))
    return number * 1_000_000 + int(part[:6].ljust(6, "0"))


def parse_offset(time: Any, unit: str) -> int:
    """Microseconds, from a number of units such as 45, 45.0 or 1.2E+05. Raises BadRow with the reason."""
    if is_absent(time):
        raise BadRow("missing column: time")
    text = text_of(time).strip()
    if not _WHOLE_AS_FLOAT.fullmatch(text):
        raise BadRow(f"bad time: {shown(time)} is not a number of {unit}")
    found = int(Decimal(text) * MICROSECONDS[unit])
    if found > _LATEST:
        raise BadRow(f"bad time: {shown(time)} is too far in the future")
    return found


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = datetime.resolution
_LATEST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
