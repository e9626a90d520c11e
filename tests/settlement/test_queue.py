# SPDX-License-Identifier: Apache-2.0
"""Recording requests in the queues: what is known, growing or in conflict, and what is due of the first open ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving_network.messages.prices import Prices
from serving_network.messages.typed_data import UserSettlement
from serving_network.messages.usage import Reject, UsageRow
from serving_network.settlement.journal import Journal
from serving_network.settlement.journal import queue as journal_module
from serving_network.settlement.journal.records import OpenWork, Recorded, UserState
from tests.settlement.test_journal_rules import (
    LETTERS,
    PRICES,
    USERS,
    accepted,
    block_hash,
    book,
    elsewhere,
    hash_of,
    opened,
    read,
    row,
    send,
    state_of,
)

GROWS = ": its usage grows, as in the chunks of one stream (--last-of-stream takes the last one)"
DIFFERS = ": recorded before with different content"
ANOTHER_TIME = ": recorded with another time. If it is another request, add --id-with-time"


def rejected(line: int, reason: str, number: int = 1) -> Reject:
    return Reject(line, f"duplicate request id 0x{hash_of(number).hex()}{reason}", "")


def adopt(journal: Journal, user: UserState, paid: int) -> None:
    """Book a payment that covers more than is recorded."""
    journal.adopt(user, UserSettlement(user.address, paid, 7, b"h" * 32), 0, accepted(paid, 6))


def due(journal: Journal, user: UserState) -> list[tuple[int, int]]:
    return [(charge.input_fee, charge.output_fee) for charge in journal.charges(user)]


# ------------------------------------------------------------------------------ an id that occurs again


@pytest.mark.parametrize("known", [0, 2], ids=["first", "last"])
def test_a_chunk_with_a_known_row_at_an_end_is_looked_up_at_once(
    tmp_path: Path, known: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vain(*_: object) -> bool:
        raise AssertionError("rows were prepared in vain")

    with opened(tmp_path / "j") as journal:
        journal.begin_reading()
        journal.record([row(known)], PRICES)
        journal.begin_reading()
        monkeypatch.setattr(journal._db, "append_new", vain)
        assert journal.record([row(0), row(1), row(2)], PRICES) == Recorded(2, 1, [])


@pytest.mark.parametrize(
    ("again", "twice", "later"),
    [
        ({}, "", None),
        ({"tokens": (10, 2)}, GROWS, GROWS + DIFFERS),
        ({"tokens": (10, 0)}, "", DIFFERS),
        ({"tokens": (11, 1)}, "", DIFFERS),
        ({"tokens": (11, 2)}, "", DIFFERS),
        ({"user": USERS[1]}, "", DIFFERS),
        ({"user": USERS[1], "tokens": (10, 2)}, "", DIFFERS),
        ({"time": 2}, ANOTHER_TIME, ANOTHER_TIME),
        ({"time": 2, "tokens": (10, 2)}, GROWS, GROWS + DIFFERS),
        ({"time": 2, "tokens": (11, 1)}, "", DIFFERS),
        ({"fees": (30, 5)}, "", None),
        ({"fees": (30, 6)}, "", DIFFERS),
        ({"fees": (30, 5), "tokens": (11, 1)}, "", DIFFERS),
        ({"fees": (30, 5), "tokens": (10, 2)}, "", DIFFERS),
    ],
)
def test_an_id_that_occurs_again_is_known_only_with_the_same_content(
    tmp_path: Path, again: dict[str, Any], twice: str, later: str | None
) -> None:
    repeated = row(1, **({"line": 9} | again))
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]))
        journal.begin_reading()
        assert journal.record([row(1)], PRICES) == Recorded(0, 1, [])
        assert journal.record([repeated], PRICES) == Recorded(0, 0, [rejected(9, twice)]), "twice in one reading"
        journal.begin_reading()
        told = Recorded(0, 1, []) if later is None else Recorded(0, 0, [rejected(9, later)])
        assert journal.record([repeated], PRICES) == told, "in a later reading"
        assert [(user.requests, user.owed) for user in journal.users()] == [(1, 35), (1, 35)]


@pytest.mark.parametrize("beside", [{}, {"seconds": 1}])
@pytest.mark.parametrize(
    ("recorded", "again", "known"),
    [
        ({"cached_tokens": 4}, {"cached_tokens": 4}, True),
        ({"cached_tokens": 4}, {"cached_tokens": 5}, False),
        ({"cached_tokens": 4}, {"images": 4}, False),
        ({"images": 4}, {"images": 5}, False),
        ({"seconds": 4}, {"seconds": 5}, False),
        ({"cached_tokens": 4}, {"cached_tokens": 4, "tokens": (11, 1)}, False),
        ({"cached_tokens": 4}, {}, True),
        ({}, {"cached_tokens": 4}, True),
    ],
)
def test_units_beside_tokens_are_compared_where_both_rows_have_them(
    tmp_path: Path, recorded: dict[str, Any], again: dict[str, Any], known: bool, beside: dict[str, Any]
) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1, **recorded))
        journal.begin_reading()
        told = journal.record([row(1, **again), row(2, **beside)], PRICES)
        assert told == Recorded(1, known, [] if known else [rejected(1, DIFFERS)])


@pytest.mark.parametrize(
    ("second", "new", "rejects"),
    [
        ({"tokens": (10, 2)}, 0, [rejected(1, GROWS), rejected(9, GROWS)]),
        ({"tokens": (10, 2), "user": USERS[1]}, 1, [rejected(9, "")]),
        ({"tokens": (11, 2)}, 1, [rejected(9, "")]),
        ({"tokens": (10, 1)}, 1, [rejected(9, "")]),
        ({"tokens": (10, 0)}, 1, [rejected(9, "")]),
    ],
)
def test_no_row_of_a_stream_is_recorded_if_its_usage_grows_within_a_chunk(
    tmp_path: Path, second: dict[str, Any], new: int, rejects: list[Reject]
) -> None:
    with opened(tmp_path / "j") as journal:
        journal.begin_reading()
        assert journal.record([row(1), row(1, **({"line": 9} | second))], PRICES) == Recorded(new, 0, rejects)
        assert [user.owed for user in journal.users()] == [35] * new


def test_a_stream_of_which_a_row_is_recorded_is_known_by_that_row(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
        journal.begin_reading()
        assert journal.record([row(1), row(1, line=9, tokens=(10, 2))], PRICES) == Recorded(0, 1, [rejected(9, GROWS)])


def test_known_requests_are_found_wherever_they_are_in_a_long_chunk(tmp_path: Path) -> None:
    def chunk(cached: int) -> list[UsageRow]:
        return [row(number, cached_tokens=cached * (number == 1200)) for number in range(1500)]

    with opened(tmp_path / "j") as journal:
        read(journal, row(1200, cached_tokens=4))
        journal.begin_reading()
        assert journal.record(chunk(4), PRICES) == Recorded(1499, 1, [])
        journal.begin_reading()
        assert journal.record(chunk(5), PRICES) == Recorded(0, 1499, [rejected(1200, DIFFERS, 1200)])


def test_an_id_at_another_time_is_a_request_that_is_known_from_then_on(tmp_path: Path) -> None:
    rows = [row(1, time=time, id_with_time=True) for time in (1, 2)]
    with opened(tmp_path / "j") as journal:
        for told in (Recorded(2, 0, []), Recorded(0, 2, [])):
            journal.begin_reading()
            assert journal.record(rows, PRICES) == told
        assert state_of(journal, USERS[0]).owed == 70


# -------------------------------------------------------------------------- what is paid of the first ones


@pytest.mark.parametrize(
    ("surplus", "left"),
    [
        (5, [(1, 5), (9, 5), (30, 5)]),
        (11, [(9, 5), (30, 5)]),
        (12, [(8, 5), (30, 5)]),
        (24, [(0, 1), (30, 5)]),
        (25, [(30, 5)]),
        (57, [(0, 3)]),
        (60, []),
    ],
)
def test_a_surplus_reduces_the_requests_that_are_being_read(
    tmp_path: Path, surplus: int, left: list[tuple[int, int]]
) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
        user = state_of(journal, USERS[0])
        adopt(journal, user, 35 + surplus)
        journal.begin_reading()
        journal.record([row(2, tokens=(2, 1)), row(3, tokens=(3, 1)), row(4)], PRICES)
        assert due(journal, user) == left
        journal.end_reading()
        assert due(journal, user) == left
        assert sum(map(sum, left)) == user.open == 60 - surplus


def test_a_free_request_stays_open_until_a_payment_follows_it(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1, fees=(0, 0)))
        user = state_of(journal, USERS[0])
        assert (user.open_from, due(journal, user)) == (0, [(0, 0)])
        read(journal, row(2))
        batch = send(journal, 1, USERS[0])
        journal.accept(batch, {0: accepted(0, 5, status=1)})
        assert (user.open_from, due(journal, user)) == (0, [(0, 0), (30, 5)]), "nothing was paid"
        journal.unbook(5, block_hash(5))
        book(journal, batch, 6, (0, 35))
        assert (user.open_from, due(journal, user)) == (2, [])
        read(journal, row(3, fees=(0, 0)))
        assert (user.open_from, due(journal, user)) == (2, [(0, 0)])


def test_a_surplus_that_is_used_up_or_undone_does_not_pay_a_free_request(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
        user = state_of(journal, USERS[0])
        book(journal, send(journal, 1, USERS[0]), 5, (0, 35))
        adopt(journal, user, 35)
        with pytest.raises(OverflowError):
            read(journal, row(2, tokens=(2**70, 1)))
        journal.unbook(6, block_hash(6))
        read(journal, row(3, fees=(0, 0)))
        assert due(journal, user) == [(0, 0)], "the surplus was undone after a failure"
        adopt(journal, user, 35)
        read(journal, row(4))
        read(journal, row(5, fees=(0, 0)))
        assert (user.open, due(journal, user)) == (0, [(0, 0)]), "the surplus is used up"


def test_open_units_are_those_of_open_requests_that_are_not_void(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(
            journal,
            row(1, cached_tokens=4, fees=(30, 5)), row(2, images=2, fees=(30, 5)),
            row(3, USERS[1], cached_tokens=7, fees=(30, 5)), row(4, USERS[1], seconds=3, fees=(30, 5)),
        )  # fmt: skip
        assert journal.open_units() == {"cached_tokens": 11, "images": 2, "seconds": 3}
        journal.void(hash_of(4), "wrong", 1)
        book(journal, send(journal, 1, USERS[0], limit=35), 5, (0, 35))
        assert journal.open_units() == {"cached_tokens": 7, "images": 2}


# -------------------------------------------------------------------------------------- what is written


def test_only_an_unusual_spelling_is_stored(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1, LETTERS), row(2, LETTERS, user_text=LETTERS.lower()))
        stored = elsewhere(journal.path, "SELECT spelling FROM request ORDER BY number")
        assert stored == [(None,), (f"0x{hash_of(2).hex()} {LETTERS.lower()}",)]


def test_a_failure_is_forgotten_by_the_rows_that_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_COMMIT_EVERY", 4)
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
        kept = replace(state_of(journal, USERS[0]))
        journal.begin_reading()
        journal.record([row(2), row(3), row(4)], PRICES)
        with pytest.raises(OverflowError):
            journal.record([row(5, tokens=(2**70, 1))], Prices(7, 7))
        assert journal.users() == [kept]
        for numbers, durable in (((5, 6, 7), 1), ((8,), 5)):
            journal.record([row(number) for number in numbers], PRICES)
            assert elsewhere(journal.path, "SELECT count(*) FROM request") == [(durable,)]
        assert journal.open_work(state_of(journal, USERS[0])) == OpenWork(5, 50, 5)
