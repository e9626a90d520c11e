# SPDX-License-Identifier: Apache-2.0
"""The values of tables and lists: how a person sees them, and how a program reads them.

Everything that strangers wrote becomes Text: on one line, cut, with control and direction characters shown as escapes,
and in an element of its own, so that it cannot change the direction of what is beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from markupsafe import Markup, escape

from serving_network.addresses import is_hex_address
from serving_network.counting import count
from serving_network.money import format_coins
from serving_network.untrusted import printable

LONGEST_WORD: Final = 32
LONGEST_TEXT: Final = 60
LONGEST_LONG_TEXT: Final = 600
LONGEST_TITLE: Final = 400
TOKENS_OF_PRICE: Final = 10**6
_LEAST_SHOWN: Final = 10**12
_MIDDLING: Final = 10**18
_LARGE: Final = 10**20
_LAST_TIME: Final = 253_402_300_799
"""The end of the year 9999: later times have no date."""
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What spreadsheets take for the beginning of a formula."""

Names = Mapping[str, str]
"""The names of the reader's own address book, by address."""


class Kind(StrEnum):
    """What a value is."""

    AMOUNT = "amount"
    PRICE = "price"
    COUNT = "count"
    BLOCK = "block"
    SHARE = "share"
    SPAN = "span"
    MILLISECONDS = "milliseconds"
    TIME = "time"
    DAY = "day"
    WORD = "word"
    TEXT = "text"
    LONG_TEXT = "long-text"
    STATE = "state"
    FLAG = "flag"
    ADDRESS = "address"
    PROVIDER = "provider"
    USER = "user"
    TRANSACTION = "transaction"
    LINK = "link"
    ADDRESS_OR_TEXT = "address-or-text"

    @property
    def is_number(self) -> bool:
        """Whether it is set on the right, and sorted from the highest first."""
        return self in _NUMBERS

    @property
    def falls(self) -> bool:
        """Whether the first sort is from the highest: numbers and times."""
        return self in _NUMBERS or self in (Kind.TIME, Kind.DAY)


_NUMBERS: Final = frozenset({Kind.AMOUNT, Kind.PRICE, Kind.COUNT, Kind.BLOCK, Kind.SHARE, Kind.SPAN, Kind.MILLISECONDS})


class Tone(StrEnum):
    """How a state is coloured; its words say the same."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True, order=True)
class State:
    """A word of this program about something, such as the status of a settlement."""

    word: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """A link within the explorer."""

    word: str
    path: str


class AddressWithoutPage(str):
    """An address that no page of the explorer is about: it is shown without a link."""

    __slots__ = ()


def shown(kind: Kind, value: Any, names: Names) -> Markup:
    """A value as HTML."""
    if value is None:
        return Markup('<span class="none">&ndash;</span>')
    match kind:
        case Kind.AMOUNT:
            return _amount(value)
        case Kind.PRICE:
            return _price(value)
        case Kind.COUNT | Kind.BLOCK:
            return escape(f"{value:,}")
        case Kind.SHARE:
            return escape(share_text(value))
        case Kind.SPAN:
            return escape(span_text(value))
        case Kind.MILLISECONDS:
            return escape(f"{value:,} ms")
        case Kind.TIME:
            return _time(value)
        case Kind.DAY:
            return Markup('<span class="nowrap">{}</span>').format(iso_day(value))
        case Kind.WORD:
            return Markup('<span class="nowrap">{}</span>').format(text(value, most=LONGEST_WORD))
        case Kind.TEXT:
            return text(value)
        case Kind.LONG_TEXT:
            return text(value, most=LONGEST_LONG_TEXT)
        case Kind.STATE:
            return Markup('<span class="state {}">{}</span>').format(value.tone.value, value.word)
        case Kind.FLAG:
            return escape("yes" if value else "no")
        case Kind.ADDRESS | Kind.PROVIDER | Kind.USER:
            return address(value, names, kind.value)
        case Kind.ADDRESS_OR_TEXT:
            return address(value, names) if _is_address(value) else text(value)
        case Kind.TRANSACTION:
            return _shortened(value, f"/transaction/{value}", f"{value[:10]}…{value[-4:]}")
        case Kind.LINK:
            return Markup('<a href="{}">{}</a>').format(value.path, value.word)


def plain(kind: Kind, value: Any) -> Any:
    """A value as JSON: amounts exact, times in UTC."""
    if value is None:
        return None
    match kind:
        case Kind.AMOUNT | Kind.PRICE:
            return {"wei": str(value), "coins": format_coins(value)}
        case Kind.TIME:
            return iso_time(value)
        case Kind.DAY:
            return iso_day(value)
        case Kind.SHARE:
            return f"{value // 10_000}.{value % 10_000:04d}"
        case Kind.STATE | Kind.LINK:
            return value.word
        case _:
            return value


def in_csv(kind: Kind, value: Any) -> str:
    """A value in CSV. A text of a stranger cannot become a formula of a spreadsheet."""
    found = plain(kind, value)
    if found is None:
        return ""
    if isinstance(found, dict):
        return str(found["wei"] if kind is Kind.PRICE else found["coins"])
    if isinstance(found, bool):
        return "yes" if found else "no"
    if kind in (Kind.WORD, Kind.TEXT, Kind.LONG_TEXT, Kind.ADDRESS_OR_TEXT) and str(found).startswith(_FORMULA):
        return f"'{found}"
    return str(found)


def csv_name(kind: Kind, key: str) -> str:
    """The name of a column in CSV, with its unit."""
    unit = {Kind.AMOUNT: "_coins", Kind.PRICE: "_wei_per_token", Kind.SPAN: "_seconds", Kind.MILLISECONDS: "_ms"}
    return key + unit.get(kind, "")


def coins(wei: int) -> tuple[str, str]:
    """An amount in coins, rounded towards zero to six decimals: the whole part, and the decimals with their point."""
    if 0 < abs(wei) < _LEAST_SHOWN:
        return ("<0" if wei > 0 else ">-0"), ".000001"
    cut = abs(wei) // _LEAST_SHOWN
    whole, part = divmod(cut, 10**6)
    decimals = f"{part:06d}".rstrip("0")
    return f"{'-' if wei < 0 else ''}{whole:,}", f".{decimals}" if decimals else ""


def decimals(kind: Kind, value: Any) -> int:
    """How many characters follow the whole part of a value that is shown with decimals."""
    if value is None or kind not in (Kind.AMOUNT, Kind.PRICE):
        return 0
    return len(coins(value if kind is Kind.AMOUNT else value * TOKENS_OF_PRICE)[1])


def short_amount(wei: int) -> Markup:
    """An amount for a headline: as few decimals as tell it from another of its size, and all of them on hover."""
    whole, part = coins(wei)
    length = 2 if wei >= _LARGE else 4 if wei >= _MIDDLING else 6
    part = part[: length + 1].rstrip("0").rstrip(".")
    exact = f"{format_coins(wei)} coins = {wei} wei"
    return Markup('<span class="amount" title="{}">{}{}</span>').format(exact, whole, part)


def coins_text(wei: int) -> str:
    """As `coins`, in one text, without a unit."""
    return "".join(coins(wei))


def _amount(wei: int) -> Markup:
    whole, part = coins(wei)
    exact = f"{format_coins(wei)} coins = {wei} wei"
    return Markup('<span class="amount" title="{}">{}<span class="part">{}</span></span>').format(exact, whole, part)


def _price(wei: int) -> Markup:
    whole, part = coins(wei * TOKENS_OF_PRICE)
    exact = f"{wei} wei per token = {format_coins(wei * TOKENS_OF_PRICE)} coins per million tokens"
    return Markup('<span class="amount" title="{}">{}<span class="part">{}</span></span>').format(exact, whole, part)


def count_of(number: int, one: str) -> str:
    """A number and what it counts, with separators of thousands."""
    return count(number, one).replace(str(number), f"{number:,}", 1)


def share_text(millionths: int) -> str:
    """A share in millionths as a percentage with one decimal."""
    tenths = (millionths + 500) // 1_000
    return f"{tenths // 10}.{tenths % 10} %"


def span_text(seconds: int) -> str:
    """A span of seconds in its two largest units."""
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2]) or "0 s"


def iso_time(seconds: int) -> str:
    """A time in seconds since 1970 as ISO 8601 in UTC."""
    return datetime.fromtimestamp(min(max(seconds, 0), _LAST_TIME), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_day(day: int) -> str:
    """A day, counted since 1970 in UTC, as ISO 8601."""
    return iso_time(day * 86_400)[:10]


def _time(seconds: int) -> Markup:
    iso = iso_time(seconds)
    words = f"{iso[:10]} {iso[11:16]} UTC"
    return Markup('<time datetime="{}" title="{} {} UTC">{}</time>').format(iso, iso[:10], iso[11:19], words)


def text(value: str, most: int = LONGEST_TEXT) -> Markup:
    """A text that a stranger wrote."""
    if not value:
        return Markup('<span class="none">empty</span>')
    words = printable(value, most=None)
    if len(words) <= most:
        return Markup('<bdi class="foreign">{}</bdi>').format(words)
    cut = f"{words[:most]}… ({len(value):,} characters)"
    return Markup('<bdi class="foreign" title="{}">{}</bdi>').format(words[:LONGEST_TITLE], cut)


def address(value: str, names: Names, page: str = "address") -> Markup:
    """An address: its name, if the reader gave it one, and its ends, with a link to its page if it has one."""
    ends = f"{value[:6]}…{value[-4:]}"
    name = names.get(value)
    words = (
        escape(ends)
        if name is None
        else Markup('<bdi class="name">{}</bdi> <span class="ends">{}</span>').format(printable(name, most=32), ends)
    )
    if isinstance(value, AddressWithoutPage):
        return Markup('<span class="short" data-copy="{0}" title="{0}">{1}</span>').format(value, words)
    return _shortened(value, f"/{page}/{value}", words)


def _is_address(value: str) -> bool:
    return value.startswith("0x") and is_hex_address(value)


def _shortened(value: str, path: str, words: str) -> Markup:
    return Markup('<span class="short" data-copy="{0}"><a href="{1}" title="{0}">{2}</a></span>').format(
        value, path, words
    )
