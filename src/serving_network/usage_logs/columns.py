# SPDX-License-Identifier: Apache-2.0
"""Map the columns of a usage log to fields.

A log is read as it is: the usual column names are known. Map other names on the command line
(`--map input_tokens=ContextTokens`) or in a file. A preset is such a file that comes with this package:

    only = ["type=GENERATION"]          # rows to read, by the value of a column; `skip` leaves rows out
    [columns]
    id = "@row"                         # the log has no ids
    time = "TIMESTAMP"
    user = "customer|end_user"          # the first column that has a value
    input_tokens = "prompt+image"       # the sum of two columns
    output_tokens = "usage.out|0"       # a field of an object, else the number

`Columns` documents the other keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from serving_network.errors import ConfigurationError, InvalidInput
from serving_network.files import unreadable
from serving_network.untrusted import parse_json, parse_toml
from serving_network.usage_logs.values import MICROSECONDS

ROW_AS_ID: Final = "@row"
"""Mapped to `id` if the log has no request ids: a row is identified by its line number and content."""

USUAL_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "id": ("request_hash", "requestHash", "request_id", "requestId", "id"),
    "user": ("user", "user_address", "userAddress", "address"),
    "time": ("time", "timestamp", "created_at", "createdAt", "created"),
    "input_tokens": ("input_tokens", "inputTokens", "prompt_tokens", "usage.prompt_tokens", "usage.input_tokens"),
    "output_tokens": (
        "output_tokens", "outputTokens", "completion_tokens", "usage.completion_tokens", "usage.output_tokens",
    ),
    "fee": ("fee",),
    "input_fee": ("input_fee", "inputFee"),
    "output_fee": ("output_fee", "outputFee"),
    "cached_tokens": ("cached_tokens", "cachedTokens"),
    "images": (),
    "seconds": (),
}  # fmt: skip
REQUIRED: Final = ("id", "user", "time", "input_tokens", "output_tokens")
FIELDS: Final = tuple(USUAL_NAMES)
ADDED_UP: Final = frozenset(FIELDS) - {"id", "user", "time"}
"""Fields that may be a sum of columns."""


@dataclass(frozen=True, slots=True)
class Columns:
    """How a log is read.

    `named` maps fields to columns and replaces the usual names. Of rows, `skip` leaves out those with a value in a
    column ("COLUMN=VALUE", in any case; "COLUMN=" if the column is empty), and `only` keeps those with one of the
    values. `ignore` are columns that are not read, `absent` values that count as none. `rows` is the path to the array
    of rows in a JSON document. `user` is the user of all rows. With `start`, times are offsets from it, in `time_unit`
    (s, ms, us or ns). With `last_of_stream`, the last of several rows with one id counts, if their usage grows. With
    `id_with_time`, an id that another request used at another time counts as a new one.
    """

    named: dict[str, str] = field(default_factory=dict)
    skip: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    rows: str = ""
    user: str = ""
    start: str = ""
    time_unit: str = ""
    last_of_stream: bool = False
    id_with_time: bool = False

    def __post_init__(self) -> None:
        for meaning, column in self.named.items():
            if meaning not in USUAL_NAMES:
                raise InvalidInput(
                    f"{meaning!r} is not a known field.",
                    next_step=f"Map one of: {', '.join(FIELDS)}.",
                )
            valid = all(all(terms_of(meaning, one)) for one in column.split("|"))
            if not valid or (column.startswith("@") and (meaning, column) != ("id", ROW_AS_ID)):
                raise InvalidInput(
                    f"{column!r} is not a valid column for {meaning!r}.",
                    next_step=f"Name a column of the log, or use {ROW_AS_ID} for the id.",
                )
        for text in (*self.skip, *self.only):
            if not text.partition("=")[0] or "=" not in text:
                raise InvalidInput(f"{text!r} is not a condition.", next_step="Write COLUMN=VALUE, such as type=SPAN.")
        if self.time_unit and self.time_unit not in MICROSECONDS:
            raise InvalidInput(
                f"{self.time_unit!r} is not a unit of time.", next_step=f"Use one of: {', '.join(MICROSECONDS)}."
            )

    @property
    def id_is_row(self) -> bool:
        return self.named.get("id") == ROW_AS_ID

    def candidates(self, meaning: str) -> tuple[str, ...]:
        """The columns to try for one field, best first."""
        chosen = self.named.get(meaning)
        names = USUAL_NAMES[meaning] if chosen is None else tuple(chosen.split("|"))
        return tuple(name for name in names if name not in self.ignore) if self.ignore else names

    def with_assignments(self, assignments: list[str]) -> Columns:
        """These columns, changed by assignments like `user=customer`. Raises InvalidInput for anything else."""
        named = dict(self.named)
        for text in assignments:
            meaning, equals, column = text.partition("=")
            if not equals:
                raise InvalidInput(
                    f"{text!r} is not a mapping.", next_step="Write FIELD=COLUMN, such as --map user=customer."
                )
            named[meaning.strip()] = column.strip()
        return replace(self, named=named)


def terms_of(meaning: str, candidate: str) -> list[str]:
    """The columns to add up for a candidate of a field: most have one."""
    return candidate.split("+") if meaning in ADDED_UP else [candidate]


def load_columns(path: Path) -> Columns:
    """Columns from a TOML file with a `[columns]` table. Raises ConfigurationError if it cannot be used."""
    return _columns_of(str(path), _load_toml(path))


@cache
def presets() -> dict[str, tuple[Columns, tuple[str, ...]]]:
    """The presets by the name of the tool: their columns, and the columns by which the tool's logs are recognised."""
    found = {}
    for one in sorted(files("serving_network.usage_logs").joinpath("presets").iterdir(), key=lambda entry: entry.name):
        content = parse_toml(one.read_bytes())
        recognised_by = content.pop("recognised_by")
        found[one.name.removesuffix(".toml")] = _columns_of(one.name, content), tuple(recognised_by)
    return found


def preset(name: str) -> Columns:
    """The columns of a tool's logs. Raises InvalidInput if there is no such preset."""
    if name not in presets():
        raise InvalidInput(f"{name!r} is not a preset.", next_step=f"Use one of: {', '.join(presets())}.")
    return presets()[name][0]


def load_users(path: Path) -> dict[str, str]:
    """The user names of a log and their addresses, from a JSON object or TOML table.

    The addresses are checked where they are used. Raises ConfigurationError if the file cannot be used.
    """
    if path.suffix.lower() == ".json":
        try:
            content = parse_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise unreadable(ConfigurationError, path, error, "JSON") from error
    else:
        loaded = _load_toml(path)
        content = loaded.get("users", loaded)
    if not isinstance(content, dict) or not all(isinstance(address, str) for address in content.values()):
        raise ConfigurationError(
            f"{path} is not a table of user names and addresses.", next_step='Write lines like customer-7 = "0x…".'
        )
    return content


def _columns_of(source: str, content: dict[str, object]) -> Columns:
    columns = content.get("columns")
    if not isinstance(columns, dict) or not all(isinstance(name, str) for name in columns.values()):
        raise ConfigurationError(
            f"{source} has no [columns] table of strings.",
            next_step='Write [columns] and lines like user = "customer".',
        )
    known = {one.name: one.default for one in fields(Columns) if one.name != "named"}
    given: dict[str, Any] = {}
    for key, value in content.items():
        if key == "columns":
            continue
        if key not in known:
            raise ConfigurationError(
                f"{source}: {key!r} is not a known key.", next_step=f"Use [columns] and: {', '.join(known)}."
            )
        if isinstance(known[key], tuple) and isinstance(value, list) and all(isinstance(one, str) for one in value):
            given[key] = tuple(value)
        elif type(value) is type(known[key]):
            given[key] = value
        else:
            kind = {str: "a text", bool: "true or false"}.get(type(known[key]), "a list of texts")
            raise ConfigurationError(f"{source}: {key} is not {kind}.", next_step="Fix the file and run again.")
    try:
        return Columns(columns, **given)
    except InvalidInput as error:
        raise ConfigurationError(f"{source}: {error.message}", next_step=error.next_step) from error


def _load_toml(path: Path) -> dict[str, object]:
    try:
        return parse_toml(path.read_bytes())
    except (OSError, ValueError) as error:
        raise unreadable(ConfigurationError, path, error, "TOML") from error
