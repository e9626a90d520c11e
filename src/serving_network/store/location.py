# SPDX-License-Identifier: Apache-2.0
"""Where a store is: a file of SQLite, or a database of PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from serving_network.errors import ConfigurationError

_SCHEMES: Final = ("postgresql://", "postgres://")


@dataclass(frozen=True, slots=True)
class PostgresStore:
    """A database of PostgreSQL, by a URL without a password. `files` is where this machine's files for it are."""

    url: str
    files: Path = field(compare=False)

    def __str__(self) -> str:
        return self.url


Location = Path | PostgresStore


def located(text: str, directory: Path) -> Location:
    """The store that a user names by a path or a URL. Files for a PostgreSQL store are in `directory`.

    Raises ConfigurationError for a URL with a password, which would be shown in listings of processes and in logs.
    """
    if not text.startswith(_SCHEMES):
        return Path(text)
    try:
        parts = urlsplit(text)
        secret = parts.password is not None or any(name == "password" for name, _ in parse_qsl(parts.query))
    except ValueError as error:
        raise ConfigurationError(
            "The URL of the store is not valid.", cause=str(error), next_step="Write postgresql://USER@HOST/DATABASE."
        ) from error
    if secret:
        raise ConfigurationError(
            "The URL of the store contains a password.",
            cause="Others could read it in the list of processes.",
            next_step="Put the password into ~/.pgpass or the variable PGPASSWORD, and remove it from the URL.",
        )
    return PostgresStore(text, directory / f"postgresql-{sha256(text.encode()).hexdigest()[:12]}")


def beside(store: Location, suffix: str) -> Path:
    """A file of this machine that belongs to the store, such as a lock."""
    path = store.files if isinstance(store, PostgresStore) else store
    return path.with_name(f"{path.name}{suffix}")
