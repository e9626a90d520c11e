# SPDX-License-Identifier: Apache-2.0
"""Map the columns of a usage log to fields.

A log is read as it is: the usual column names are known. Map other names on the command line
(`--map input_tokens=ContextTokens`) or in a file:

    [columns]
    time = "TIMESTAMP"
    input_tokens = "ContextTokens"
    output_tokens = "GeneratedTokens"
    user = "customer"
    id = "@row"

In JSON, a dot addresses a nested field: `usage.prompt_tokens`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from serving_network.errors import ConfigurationError, InvalidInput
from serving_network.untrusted import parse_json, parse_toml

ROW_AS_ID: Final = "@row"
"""Mapped to `id` if the log has no request ids: a row is identified by its line number and content."""

USUAL_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "id": ("request_hash", "requestHash", "request_id", "requestId", "id"),
    "user": ("user", "user_address", "userAddress", "address"),
    "time": ("time", "timestamp", "created_at", "createdAt"),
    "input_tokens": ("input_tokens", "inputTokens", "prompt_tokens", "usage.prompt_tokens"),
    "output_tokens": ("output_tokens", "outputTokens", "completion_tokens", "usage.completion_tokens"),
    "fee": ("fee",),
    "input_fee": ("input_fee", "inputFee"),
    "output_fee": ("output_fee", "outputFee"),
}
REQUIRED: Final = ("id", "user", "time", "input_tokens", "output_tokens")
FIELDS: Final = tuple(USUAL_NAMES)


@dataclass(frozen=True, slots=True)
class Columns:
    """The column names to look for, per field. Those in `named` replace the usual names."""

    named: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for meaning, column in self.named.items():
            if meaning not in USUAL_NAMES:
                raise InvalidInput(
                    f"{meaning!r} is not a known field.",
                    next_step=f"Map one of: {', '.join(FIELDS)}.",
                )
            if not column or (column.startswith("@") and (meaning, column) != ("id", ROW_AS_ID)):
                raise InvalidInput(
                    f"{column!r} is not a valid column for {meaning!r}.",
                    next_step=f"Name a column of the log, or use {ROW_AS_ID} for the id.",
                )

    @property
    def id_is_row(self) -> bool:
        return self.named.get("id") == ROW_AS_ID

    def candidates(self, meaning: str) -> tuple[str, ...]:
        """The column names to try for one field, best first."""
        chosen = self.named.get(meaning)
        return USUAL_NAMES[meaning] if chosen is None else (chosen,)

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
        return Columns(named)


def load_columns(path: Path) -> Columns:
    """Columns from a TOML file with a `[columns]` table. Raises ConfigurationError if it cannot be used."""
    content = _load_toml(path)
    columns = content.get("columns")
    if not isinstance(columns, dict) or not all(isinstance(name, str) for name in columns.values()):
        raise ConfigurationError(
            f"{path} has no [columns] table of strings.", next_step='Write [columns] and lines like user = "customer".'
        )
    try:
        return Columns(columns)
    except InvalidInput as error:
        raise ConfigurationError(f"{path}: {error.message}", next_step=error.next_step) from error


def load_users(path: Path) -> dict[str, str]:
    """The user names of a log and their addresses, from a JSON object or TOML table.

    The addresses are checked where they are used. Raises ConfigurationError if the file cannot be used.
    """
    if path.suffix.lower() == ".json":
        try:
            content = parse_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"{path} cannot be read as JSON.", cause=str(error), next_step="Fix the file and run again."
            ) from error
    else:
        loaded = _load_toml(path)
        content = loaded.get("users", loaded)
    if not isinstance(content, dict) or not all(isinstance(address, str) for address in content.values()):
        raise ConfigurationError(
            f"{path} is not a table of user names and addresses.", next_step='Write lines like customer-7 = "0x…".'
        )
    return content


def _load_toml(path: Path) -> dict[str, object]:
    try:
        return parse_toml(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{path} cannot be read as TOML.", cause=str(error), next_step="Fix the file and run again."
        ) from error
