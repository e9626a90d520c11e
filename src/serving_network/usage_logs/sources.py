# SPDX-License-Identifier: Apache-2.0
"""Find the values of a row's fields: places in a CSV row, paths in a JSON object, fall-backs, sums and conditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final

from serving_network.messages.usage import MAX_FEE, is_absent, text_of
from serving_network.usage_logs.columns import ADDED_UP, FIELDS, Columns, terms_of
from serving_network.usage_logs.values import count, follow

Getter = Callable[[Any], Any]
"""The value of one field in a row: a list of texts or a JSON object."""
LookUp = Callable[[str], Getter | None]
"""The getter of a column, None if the log has no such column."""

_LARGEST_TERM: Final = 2 * MAX_FEE


def json_column(name: str) -> Getter:
    """A field of a JSON object. A dot reaches into an object, unless the whole name is a field."""
    path = name.split(".")
    if len(path) == 1:
        return lambda row: row.get(name)

    def nested(row: Any) -> Any:
        found = row.get(name)
        return follow(row, path) if found is None else found

    return nested


def csv_column(name: str, header: Sequence[str]) -> Getter | None:
    """A column of a CSV row. A dot reaches into a column that holds JSON."""
    if name in header:
        return itemgetter(header.index(name))
    for place, column in enumerate(header):
        if name.startswith(f"{column}.") and column:
            return _within(place, name.removeprefix(f"{column}.").split("."))
    return None


def _within(place: int, path: Sequence[str]) -> Getter:
    return lambda row: follow(row[place], path)


def field(meaning: str, names: Sequence[str], absent: Sequence[str], look_up: LookUp) -> Getter | None:
    """The getter of a field: the first candidate with a value. None if the log has no column for it."""
    found = [one for name in names if (one := _candidate(meaning, name, look_up)) is not None]
    if not found:
        return None
    if len(found) == 1 and not absent:
        return found[0]

    def first(row: Any) -> Any:
        for one in found:
            value = one(row)
            if not is_absent(value) and not (isinstance(value, str) and value.strip() in absent):
                return value
        return None

    return first


def _candidate(meaning: str, name: str, look_up: LookUp) -> Getter | None:
    terms = terms_of(meaning, name)
    if len(terms) == 1:
        if meaning in ADDED_UP and name.isascii() and name.isdigit():
            number = int(name)
            return lambda _: number
        return look_up(name)
    found = [one for term in terms if (one := look_up(term)) is not None]
    if not found:
        return None
    what = meaning.replace("_", " ")

    def total(row: Any) -> Any:
        values = [value for one in found if not is_absent(value := one(row))]
        return sum(count(value, what, _LARGEST_TERM) for value in values) if values else None

    return total


def json_fields(columns: Columns) -> Getter:
    """The values of a JSON object's fields, in the order of FIELDS."""
    getters = [_json_field(meaning, columns) for meaning in FIELDS]
    return lambda row: [None if one is None else one(row) for one in getters]


def _json_field(meaning: str, columns: Columns) -> Getter | None:
    names = columns.candidates(meaning)
    if meaning == "id" and columns.id_is_row:
        return None
    if meaning in columns.named or columns.absent:
        return field(meaning, names, columns.absent, json_column)
    return _usual(names)


def _usual(names: Sequence[str]) -> Getter | None:
    """The first of the usual names that an object has."""
    if not names:
        return None
    paths = [(name, name.split(".") if "." in name else None) for name in names]

    def first(row: Any) -> Any:
        for name, path in paths:
            found = row.get(name)
            if found is None and path is not None:
                found = follow(row, path)
            if found is not None:
                return found
        return None

    return first


def kept(columns: Columns, look_up: LookUp) -> Callable[[Any], bool] | None:
    """Whether a row is read, by `skip` and `only`; None if every row is. Raises KeyError for a missing column."""
    if not columns.skip and not columns.only:
        return None
    skip, only = _conditions(columns.skip, look_up), _conditions(columns.only, look_up)

    def decide(row: Any) -> bool:
        return not any(_text(getter(row)) in values for getter, values in skip) and all(
            _text(getter(row)) in values for getter, values in only
        )

    return decide


def condition_getters(columns: Columns, look_up: LookUp) -> list[Getter]:
    """The getters of the columns that decide whether a row is read. Raises KeyError for a missing column."""
    return [getter for getter, _ in _conditions([*columns.skip, *columns.only], look_up)]


def _conditions(texts: Sequence[str], look_up: LookUp) -> list[tuple[Getter, set[str]]]:
    """The getter of each column, with the values that are named for it."""
    values: dict[str, set[str]] = {}
    for text in texts:
        column, _, value = text.partition("=")
        values.setdefault(column.strip(), set()).add(value.strip().casefold())
    found = []
    for column, wanted in values.items():
        getter = look_up(column)
        if getter is None:
            raise KeyError(column)
        found.append((getter, wanted))
    return found


def _text(value: Any) -> str:
    return "" if value is None else text_of(value).strip().casefold()
