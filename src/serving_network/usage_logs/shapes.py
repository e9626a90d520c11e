# SPDX-License-Identifier: Apache-2.0
"""Recognise the lines of a log that look like a row that was read, and find their values in one step.

Most lines of a log differ only in their values. `json_shape` and `csv_shape` turn a row into a pattern for such lines:
its own text, but any text where it has one, and any number where it has one. To learn which of these values is
which field, the getters of `sources` are called once, with marks in place of the values. A line that the pattern does
not match is left to the careful reader, as are logs for which a getter does more than pick a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from serving_network.messages.usage import is_absent
from serving_network.untrusted import parse_json
from serving_network.usage_logs.columns import FIELDS, Columns
from serving_network.usage_logs.sources import Getter, LookUp, condition_getters, csv_column, json_column
from serving_network.usage_logs.values import Fraction

_JSON_TOKEN = re.compile(
    r'"([^"\\\x00-\x1f]*)"([ \t\r]*:)?|(-?[0-9][0-9.eE+-]*)|(?:[\[\]{},]|true|false|null|[ \t\r]+)'
)
_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")
_NUMBER: Final = r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?"
_TOKENS: Final = r"[0-9]{1,18}"
SECONDS_DIGITS: Final = 11
"""The largest number of digits that a time in seconds has."""
_SECONDS: Final = rf"[0-9]{{9,{SECONDS_DIGITS}}}"
"""A text that is a time in seconds, and no date of eight digits."""
_MARK: Final = "\ue000"
"""A private character, which begins the marks."""


class Shape(NamedTuple):
    """What the lines of a log look like.

    `lines` matches each line of a text with its line end. Its groups are values of a line of this shape, and empty for
    another line. `values` turns them into the values that the careful reader finds. If the row has an id, a user, a
    time and tokens and no other field, `plain` picks these five. `time_of` turns the time into its value. With
    `seconds`, a time of at most SECONDS_DIGITS characters is a whole number of seconds.
    """

    lines: re.Pattern[str]
    values: Callable[[Sequence[str]], list[Any]]
    plain: Callable[[Sequence[str]], tuple[str, ...]] | None
    time_of: Callable[[str], Any]
    seconds: bool


class _Part(NamedTuple):
    """A part of a line: the same in all lines, unless it has a kind: "text", "whole" or "number"."""

    text: str
    kind: str = ""


class _Texts(NamedTuple):
    """Patterns for the first and for the other characters of a text. None begins like JSON or with a blank."""

    first: str
    others: str

    def pattern(self, *, required: bool) -> str:
        return f"{self.first}{self.others}*" if required else f"(?:{self.first}{self.others}*)?"


_JSON_TEXTS: Final = _Texts(r'[^\s"\\{\x00-\x1f]', r'[^"\\\x00-\x1f]')


def json_shape(text: str, fields_of: Getter, columns: Columns) -> Shape | None:
    """The shape of a line of JSON that was read as a row; None if there is none."""
    parts, place = [], 0
    for match in _JSON_TOKEN.finditer(text):
        if match.start() != place:
            return None
        place = match.end()
        content, is_key, number = match.groups()
        if number is not None:
            parts.append(_Part(number, "whole" if _WHOLE.fullmatch(number) else "number"))
        elif content is None or is_key is not None or not content.strip():
            parts.append(_Part(match[0]))
        else:
            parts += [_Part('"'), _Part(content, "text"), _Part('"')]
    return _shape(parts, columns, fields_of, json_column, parse_json, _JSON_TEXTS)


def csv_shape(text: str, separator: str, header: Sequence[str], fields_of: Getter, columns: Columns) -> Shape | None:
    """The shape of a line of CSV without quotes that was read as a row; None if there is none."""
    end = "\r" if text.endswith("\r") else ""
    parts: list[_Part] = []
    for value in text.removesuffix("\r").split(separator):
        parts += [_Part(separator), _Part(value, "text" if value.strip() else "")]
    mark = re.escape(separator)
    return _shape(
        [*parts[1:], _Part(end)],
        columns,
        fields_of,
        lambda name: csv_column(name, header),
        lambda marked: marked.removesuffix("\r").split(separator),
        _Texts(rf'[^\s"{{{mark}]', rf'[^"\r\n{mark}]'),
    )


def _shape(
    parts: list[_Part],
    columns: Columns,
    fields_of: Getter,
    look_up: LookUp,
    read: Callable[[str], Any],
    texts: _Texts,
) -> Shape | None:
    if columns.absent or any(_MARK in part.text for part in parts):
        return None
    marked = "".join(_marked(place, part) for place, part in enumerate(parts))
    try:
        decisive = [getter(read(marked)) for getter in condition_getters(columns, look_up)]
        for place in map(_place, decisive):
            if place is not None:
                parts[place] = _Part(parts[place].text)  # whether a row is read depends on it
        marked = "".join(_marked(place, part) for place, part in enumerate(parts))
        found = dict(zip(FIELDS, fields_of(read(marked)), strict=True))
    except ValueError:
        return None
    places = {meaning: place for meaning, value in found.items() if (place := _place(value)) is not None}
    groups = {place: number for number, place in enumerate(sorted(set(places.values())))}
    if len(groups) < 2:  # a pattern with one group finds texts, not tuples
        return None
    kinds = {meaning: parts[place].kind for meaning, place in places.items()}
    patterns = {place: texts.pattern(required=True) for place in groups}
    plain = places.keys() == {"id", "user", "time", "input_tokens", "output_tokens"}
    plain = plain and kinds["id"] != "number"  # -0 is the id 0
    plain = plain and all(is_absent(value) for meaning, value in found.items() if meaning not in places)
    for meaning, pattern in (("time", _SECONDS), ("input_tokens", _TOKENS), ("output_tokens", _TOKENS)):
        if kinds.get(meaning) != "text":
            plain = plain and (meaning == "time" or kinds.get(meaning) == "whole")
        elif re.fullmatch(pattern, parts[places[meaning]].text):
            patterns[places[meaning]] = pattern
        else:
            plain = plain and meaning == "time"
    line = "".join(_pattern(part, patterns.get(place), texts) for place, part in enumerate(parts))
    converters = {meaning: _CONVERTERS[kind] for meaning, kind in kinds.items()}
    template = [
        (groups[places[meaning]], converters[meaning]) if meaning in places else (None, value)
        for meaning, value in found.items()
    ]
    return Shape(
        re.compile(rf"{line}\n|[^\n]*\n"),
        lambda captured: [value if group is None else value(captured[group]) for group, value in template],
        itemgetter(*(groups[place] for place in places.values())) if plain else None,
        converters.get("time", str),
        kinds.get("time") == "whole" or patterns.get(places.get("time", -1)) == _SECONDS,
    )


def _marked(place: int, part: _Part) -> str:
    """A part with a mark in place of its value. In JSON, the mark of a number is a text."""
    if not part.kind:
        return part.text
    mark = f"{_MARK}{place}"
    return mark if part.kind == "text" else f'"{mark}"'


def _place(value: Any) -> int | None:
    """The place of the part whose mark this is; None if it is another value."""
    return int(value[1:]) if isinstance(value, str) and value.startswith(_MARK) else None


def _pattern(part: _Part, captured: str | None, texts: _Texts) -> str:
    if not part.kind:
        return re.escape(part.text)
    if captured is None:
        return texts.pattern(required=False) if part.kind == "text" else _NUMBER
    if part.kind == "text":
        return f"({captured})"
    return f"({_WHOLE.pattern})" if part.kind == "whole" else f"({_NUMBER})"


def _number(text: str) -> Any:
    """The value of a JSON number."""
    return int(text) if text.removeprefix("-").isdigit() else Fraction(text)


_CONVERTERS: Final[dict[str, Callable[[str], Any]]] = {"text": str, "whole": int, "number": _number}
