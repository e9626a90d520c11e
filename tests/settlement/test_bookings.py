# SPDX-License-Identifier: Apache-2.0
"""What a fork undoes and what it leaves, where two blocks have one number or a user has several final settlements."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from serving_network.clients.settlements import Outcome
from serving_network.messages.typed_data import UserSettlement
from serving_network.settlement.journal.records import Acceptance, Mined
from tests.settlement.test_journal_rules import (
    USERS,
    accepted,
    block_hash,
    book,
    elsewhere,
    opened,
    read,
    row,
    send,
    state_of,
    transaction,
)

LATE: Final = 10**12
"""A block number far above those of any chain today."""


@pytest.mark.parametrize("undone", ["0xa", "0xb"])
def test_of_two_blocks_with_one_number_only_the_undone_one_is_unbooked(tmp_path: Path, undone: str) -> None:
    """Two users per batch: the first is paid, the second is refused by the same transaction."""
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]), row(3, USERS[2]))
        batches = {}
        for number, (paid, name) in enumerate(((USERS[0], "0xa"), (USERS[1], "0xb")), 1):
            batch = send(journal, number, paid, USERS[2])
            hash_ = transaction(number).hash
            journal.add_mined(hash_, Mined(7, name, 20 + number, 1))
            journal.refuse(batch, {1: 3})
            journal.accept(batch, {0: Acceptance(Outcome(0, 35), 7, name, hash_)})
            journal.end_batch(batch)
            batches[name] = batch.id
        assert journal.unbook(7, undone) == 1
        assert [batch.id for batch in journal.open_batches()] == [batches[undone]]
        left = [one for one in (1, 2) if one != batches[undone]]
        assert elsewhere(journal.path, "SELECT id, gas_used FROM sent WHERE block_number IS NOT NULL") == [
            (number, 20 + number) for number in left
        ]
        settled = "SELECT batch_id, position, state, status FROM settlement ORDER BY batch_id, position"
        kept = {number: [(number, 0, "accepted", 0), (number, 1, "signed", 3)] for number in left}
        gone = {number: [(number, 0, "signed", None), (number, 1, "signed", None)] for number in (1, 2)}
        assert elsewhere(journal.path, settled) == [line for found in (gone | kept).values() for line in found]
        assert [user.paid for user in journal.users()] == [35 if number in left else 0 for number in (1, 2)] + [0]


def test_a_batch_accepted_by_an_unknown_transaction_is_open_again_without_it(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]))
        batches = [send(journal, number, user) for number, user in enumerate(USERS[:2], 1)]
        for batch, block in zip(batches, (7, 8), strict=True):
            journal.accept(batch, {0: accepted(35, block, sent=99)})
            journal.end_batch(batch)
        assert journal.unbook(7, block_hash(7)) == 1
        assert [batch.id for batch in journal.open_batches()] == [batches[0].id]
        assert [user.paid for user in journal.users()] == [0, 35]


def test_the_highest_final_nonce_of_several_counts(tmp_path: Path) -> None:
    """The user's settlement with nonce 2 stays dead between final ones with 1 and 3, until 3 is undone."""
    states = "SELECT state FROM settlement ORDER BY batch_id"
    batches = "SELECT id FROM batch WHERE state = 'open'"
    with opened(tmp_path / "j") as journal:
        assert journal.final_block() == 0
        read(journal, *(row(number) for number in range(4)), row(9, USERS[1]))
        user = state_of(journal, USERS[0])
        other = send(journal, 1, USERS[1])
        book(journal, other, 4, (0, 35))
        refused = send(journal, 2, USERS[0], limit=35)
        journal.adopt(user, UserSettlement(user.address, 20, 1, bytes(32)), 0, accepted(20, 5, sent=9))
        third = send(journal, 3, USERS[0], limit=50)
        book(journal, third, 6, (0, 50))
        journal.end_batch(other)
        journal.finalise(6)
        assert journal.overtaken(refused)
        for batch in (refused, third):
            journal.end_batch(batch)
        journal.finalise(7)
        assert elsewhere(journal.path, states) == [("final",), ("dead",), ("final",), ("final",)]
        fourth = send(journal, 4, USERS[0])
        book(journal, fourth, 8, (0, 70))
        assert journal.unbook(8, block_hash(8)) == 1
        assert elsewhere(journal.path, states) == [("final",), ("dead",), ("final",), ("final",), ("signed",)]
        assert elsewhere(journal.path, batches) == [(fourth.id,)]
        assert journal.unbook(6, block_hash(6)) == 1
        assert elsewhere(journal.path, states) == [("final",), ("signed",), ("final",), ("signed",), ("signed",)]
        assert elsewhere(journal.path, batches) == [(refused.id,), (third.id,), (fourth.id,)]
        assert user.paid == 20


def test_the_newest_mined_transaction_tells_the_passed_wallet_nonce(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]), row(3, USERS[2]))
        for number, block in ((5, LATE), (6, LATE + 1), (7, LATE + 2)):
            book(journal, send(journal, number, USERS[number - 5]), block, (0, 35))
        assert [journal.wallet_nonce_passed(LATE + more) for more in (-1, 0, 1, 2)] == [0, 6, 7, 8]
        assert list(journal.booked_blocks()) == [(LATE + more, block_hash(LATE + more)) for more in (2, 1, 0)]
        assert journal.last_booked_block() == LATE + 2
