# SPDX-License-Identifier: Apache-2.0
"""Compare every row of an index with one that is built again from the chain, in a temporary file.

What was read from a node without old states can differ, because it was read at another time. In a table with such
versions, columns that no event tells are left out, and versions that differ in nothing else count as one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from serving_network.explorer.index.comparing import MOST_SHOWN, Comparison, in_pages
from serving_network.explorer.index.following import Follower, Progress
from serving_network.explorer.index.found import Checked
from serving_network.explorer.index.opening import Subject, reading, writing
from serving_network.explorer.index.reconciling import Behind, check_block, reconcile
from serving_network.explorer.index.versions import ACCOUNT, DELIVERABLE, HELD, LEDGER, OFFER, SETTING, STAKE
from serving_network.explorer.index.versions import Table as Versioned

if TYPE_CHECKING:
    from serving_network.chain.reading import AsyncReader
    from serving_network.explorer.index.reading import IndexReader

_LONGEST: Final = 80


@dataclass(frozen=True, slots=True)
class _Table:
    """A table: the columns that identify a row, the others, and those of them that may have been read later."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    read: tuple[str, ...] = ()
    versioned: bool = False


def _versioned(table: Versioned[Any], *read: str) -> _Table:
    return _Table(table.name, (*table.key, "since"), ("until", *table.columns), read, versioned=True)


TABLES: Final = (
    _Table("block", ("number",), ("hash", "time")),
    _Table(
        "contract",
        ("address",),
        ("role", "kind", "name", "front", "type", "version", "description", "since", "read_at"),
        ("type", "version", "description", "read_at"),
    ),
    _Table("tx", ("hash",), ("position", "sender", "recipient", "value", "input", "gas_used", "gas_cost")),
    _Table("event", ("position",), ("tx", "contract", "name", "user_address", "provider", "args")),
    _Table(
        "settlement", ("position",),
        ("service", "provider", "user_address", "form", "batch", "tx", "status", "paid", "fee", "nonce",
         "requests_hash", "deliverable_id", "through_contract"),
    ),
    _Table(
        "batch", ("position",),
        ("service", "provider", "form", "tx", "size", "accepted", "paid", "fee", "through_contract"),
    ),
    _versioned(LEDGER, "info", "read_at"),
    _versioned(HELD),
    _versioned(ACCOUNT, "acknowledged", "penalised", "info", "read_at"),
    _versioned(STAKE),
    _versioned(OFFER, "model", "signer", "confirmed", "info", "read_at"),
    _versioned(DELIVERABLE),
    _versioned(SETTING, "value", "read_at"),
    _Table("oddity", ("position", "what"), ("contract", "tx")),
    _Table("daily", ("day", "service", "provider"), ("settlements", "paid")),
    _Table("total", ("contract", "name"), ("amount",)),
)  # fmt: skip
"""Every table but `meta` and `seen`, which say how far the index is."""


async def recheck(index: IndexReader, chain: AsyncReader, report: Callable[[Progress], None]) -> Checked:
    """Compare every row of an index with one that is built again, and the index with the contracts.

    Raises NodeFailure. A row that holds what nothing can read is a difference as well.
    """
    comparison = Comparison()
    await check_block(index.tip(), chain)
    await _compare_again(index, chain, comparison, report)
    await _compare_seen(index, chain, comparison)
    try:
        checked = await reconcile(index, chain)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if not comparison.different:
            raise
        comparison.differ("index", "one of these values", str(error), "readable")
        tip = index.tip()
        checked = Checked(tip.block, tip.hash, int(time.time()), {}, 0, (), (), ())
    return replace(
        checked,
        compared=checked.compared | dict(comparison.compared),
        different=checked.different + comparison.different,
        differences=(*checked.differences, *comparison.differences)[:MOST_SHOWN],
    )


async def _compare_again(
    index: IndexReader, chain: AsyncReader, comparison: Comparison, report: Callable[[Progress], None]
) -> None:
    tip = index.tip()
    ((first,),) = index.rows("SELECT value FROM meta WHERE key = 'first'")
    with TemporaryDirectory(prefix="serving-index-") as directory:
        path = Path(directory) / "index"
        with writing(path, Subject(tip.chain_id, "", tip.ledger)) as db:
            await Follower(db, chain, tip.ledger, first=int(first), last=tip.block).catch_up(report)
        with reading(path) as again:
            if again.tip().hash != tip.hash:
                raise Behind(
                    f"The chain lost block {tip.block} while it was read again.",
                    cause="The chain was reorganised.",
                    next_step="Run the command again.",
                )
            comparison.compare("table meta", "time", tip.time, again.tip().time)
            compare_tables(index, again, comparison)


def compare_tables(index: IndexReader, again: IndexReader, comparison: Comparison) -> None:
    """Compare every row of an index with those of one that was built again."""
    for table in TABLES:
        _compare(table, index, again, comparison)


async def _compare_seen(index: IndexReader, chain: AsyncReader, comparison: Comparison) -> None:
    for number, hash_ in index.rows("SELECT number, hash FROM seen ORDER BY number"):
        found = await chain.block_hash(number)
        comparison.compare("table seen", f"hash of {number}", hash_, None if found is None else found.lower())


def _compare(table: _Table, ours: IndexReader, theirs: IndexReader, comparison: Comparison) -> None:
    read_later = bool(table.read) and any(_read_later(table, one) for one in (ours, theirs))
    names, indexed = _rows(table, ours, read_later)
    _, answered = _rows(table, theirs, read_later)
    label = f"table {table.name}"
    for key, one, other in _joined(indexed, answered):
        comparison.compared["rows"] += 1
        row = "row " + " ".join(map(str, key))
        if one is None or other is None:
            comparison.differ(label, row, "none" if one is None else "exists", "none" if other is None else "exists")
        elif one != other:
            for name, value, expected in zip(names, one, other, strict=True):
                comparison.compare(label, f"{name} of {row}", _shown(value), _shown(expected))


def _read_later(table: _Table, index: IndexReader) -> bool:
    return bool(index.rows(f"SELECT 1 FROM {table.name} WHERE read_at > since >> 20 LIMIT 1"))


Row = tuple[tuple[Any, ...], tuple[Any, ...]]


def _rows(table: _Table, index: IndexReader, read_later: bool) -> tuple[tuple[str, ...], Iterator[Row]]:
    """The names of the columns that are compared, and each row's key and values."""
    names = table.columns
    if read_later:
        names = tuple(one for one in names if one not in (*table.read, "until"))
    size = len(table.key)
    select = f"SELECT {', '.join((*table.key, *names))} FROM {table.name} WHERE 1 = 1"
    rows = ((tuple(row[:size]), tuple(row[size:])) for row in in_pages(index, select, table.key))
    return names, _distinct(rows) if read_later and table.versioned else rows


def _distinct(rows: Iterator[Row]) -> Iterator[Row]:
    """Versions without those that are the same as the one before."""
    last: Row | None = None
    for key, values in rows:
        if last is None or (last[0][:-1], last[1]) != (key[:-1], values):
            yield key, values
        last = key, values


def _joined(
    ours: Iterator[Row], theirs: Iterator[Row]
) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...] | None, tuple[Any, ...] | None]]:
    """The rows of both, which are in the order of their keys, side by side."""
    one, other = next(ours, None), next(theirs, None)
    while one is not None or other is not None:
        if one is not None and (other is None or one[0] < other[0]):
            yield one[0], one[1], None
            one = next(ours, None)
        elif other is not None and (one is None or other[0] < one[0]):
            yield other[0], None, other[1]
            other = next(theirs, None)
        elif one is not None and other is not None:
            yield one[0], one[1], other[1]
            one, other = next(ours, None), next(theirs, None)


def _shown(value: Any) -> str:
    text = "0x" + value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"
