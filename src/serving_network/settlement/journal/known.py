# SPDX-License-Identifier: Apache-2.0
"""Look up many recorded requests at once, by the keys of their hashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from serving_network.messages.usage import UsageRow
from serving_network.store.database import Database

_KEYS_AT_ONCE: Final = 1000
_MARKS: Final = ", ".join("?" * _KEYS_AT_ONCE)


class Found(NamedTuple):
    """A recorded request, and the last pass that met it."""

    met: int
    user: int
    number: int
    time: int
    input_tokens: int
    output_tokens: int
    price: int
    input_fee: str | None
    output_fee: str | None

    def grows_to(self, row: UsageRow) -> bool:
        """Whether a row of the same user reports the same request with more output."""
        same = (self.input_tokens, None) == (row.input_tokens, row.fees)
        return same and self.output_tokens < row.output_tokens


_new_found: Final = tuple.__new__


def recorded(db: Database, keys: Sequence[bytes]) -> dict[bytes, Found]:
    """What is recorded under these keys."""
    found: dict[bytes, Found] = {}
    for part in _parts(keys):
        for row in db.execute(
            "SELECT k.hash, k.pass, r.user_id, r.number, r.time, r.input_tokens, r.output_tokens, r.price_id,"  # noqa: S608
            " f.input_fee, f.output_fee FROM known k JOIN request r ON r.user_id = k.user_id AND r.number = k.number"
            " LEFT JOIN own_fee f ON f.user_id = k.user_id AND f.number = k.number"
            f" WHERE k.hash IN ({_MARKS})",
            part,
        ):
            found[row[0]] = _new_found(Found, row[1:])
    return found


def recorded_units(db: Database, keys: Sequence[bytes]) -> dict[bytes, dict[str, int]]:
    """What the requests with these keys used beside plain tokens, by its kind. Requests without it are missing."""
    found: dict[bytes, dict[str, int]] = {}
    for part in _parts(keys):
        for key, kind, tokens in db.execute(
            "SELECT k.hash, o.kind, o.tokens FROM known k"  # noqa: S608
            f" JOIN other_tokens o ON o.user_id = k.user_id AND o.number = k.number WHERE k.hash IN ({_MARKS})",
            part,
        ):
            found.setdefault(key, {})[kind] = tokens
    return found


def mark_met(db: Database, keys: Sequence[bytes], met: int) -> None:
    """Note that a pass met the requests with these keys."""
    for part in _parts(keys):
        db.execute(f"UPDATE known SET pass = ? WHERE hash IN ({_MARKS})", (met, *part))  # noqa: S608


def _parts(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Parts of one length, so that each statement is prepared once: the last key fills up the last part.

    Keys of a part are next to each other in the table, so that few of its pages are visited for each part.
    """
    ordered = sorted(keys)
    for start in range(0, len(ordered), _KEYS_AT_ONCE):
        part = ordered[start : start + _KEYS_AT_ONCE]
        yield part + part[-1:] * (_KEYS_AT_ONCE - len(part))
