# SPDX-License-Identifier: Apache-2.0
"""What a gateway served, summed up from the tables: with users who owe, who paid, and whose balance was never read."""

from __future__ import annotations

from typing import Any

import pytest

from serving_network.store.location import Location
from serving_network.store.opening import JournalFailure, connected
from serving_network.store.schema import padded
from serving_network.store.served import Summary, known_nonces, summarise
from tests.settlement.test_served import IDENTITY


def fill(store: Location, rows: dict[str, list[tuple[Any, ...]]]) -> None:
    """A store with these rows, whose first columns are given."""
    with connected(store, IDENTITY) as db:
        db.begin()
        for table, given in rows.items():
            for row in given:
                db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        db.commit()


def sent(number: int, purpose: str, made: int, block: int | None) -> tuple[Any, ...]:
    return (number, 1, f"0x{number}", b"", 0, 0, "0", "0", 0, purpose, made, block, None, None, None)


def begun(number: int) -> tuple[Any, ...]:
    return (b"%d" % number, "0xa", 255, "m", "1", "1", b"", b"", 0, 0, 0, 0, "0", "0", 1, "")


def settled(user: int, nonce: int) -> tuple[Any, ...]:
    return (1, nonce, user, "1", padded(nonce), b"", b"", 1, "0", "1", "final", 0, "1", 1, None, None)


def test_the_totals_of_a_store(location: Location) -> None:
    fill(
        location,
        {
            # address, requests, billed, taken, balance, pending refund, nonce, block, taken to
            "account": [
                ("0xa", 3, "100", "60", "70", "5", "", 0, 2),
                ("0xb", 2, "50", "0", "1000", "0", "", -1, 0),
                ("0xc", 1, "7", "7", "0", "0", "", 5, 1),
                ("0xd", 0, "900", "0", "0", "0", "", 5, 0),
                ("0xe", 4, "30", "0", "30", "0", "", 5, 0),
                ("0xf", 1, "30", "0", "30", "1", "", 5, 0),
                ("0x10", 1, "8", "6", "10", "20", "", 5, 1),
                ("0x11", 1, "8", "8", "10", "20", "", 5, 1),
            ],
            # id, address, requests, tokens, owed, billed, paid, open from, open paid
            "user": [(1, "0xa", 2, 1, 1, "60", "60", "10", 0, "0"), (2, "0xc", 1, 1, 1, "7", "7", "9", 1, "0")],
            "begun": [begun(1), begun(2)],
            "sent": [
                sent(1, "carry", 5, 1),
                sent(2, "carry", 9, None),
                sent(3, "cancel", 8, 2),
                sent(4, "carry", 7, 3),
            ],
        },
    )
    assert summarise(location) == Summary(
        requests=13,
        users=7,
        billed=233,
        unsettled=90 + 50 + 0 + 30 + 30 + 2,
        begun=2,
        uncovered=(90 - 65) + 50 + 1 + 2,
        at_risk=[("0xb", 50), ("0xa", 25), ("0x10", 2), ("0xf", 1)],
        settled=19,
        settled_at=7,
    )


def test_the_highest_nonce_of_each_user(location: Location) -> None:
    fill(
        location,
        {
            "account": [
                (user, requests, "0", "0", "0", "0", "", -1, 0)
                for user, requests in (("0xa", 3), ("0xb", 2), ("0xd", 0))
            ],
            "user": [(1, "0xa", 1, 1, 1, "1", "1", "1", 0, "0"), (2, "0xe", 1, 1, 1, "1", "1", "0", 0, "0")],
            "settlement": [settled(1, 12), settled(1, 7)],
        },
    )
    assert known_nonces(location) == {"0xa": 12, "0xb": 0, "0xe": 0}


def test_there_are_no_totals_without_a_store(location: Location) -> None:
    for read in (summarise, known_nonces):
        with pytest.raises(JournalFailure, match="There is no journal"):
            read(location)
