# SPDX-License-Identifier: Apache-2.0
"""Adopting and voiding, where several settlements, users or free requests could be mixed up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving_network.messages.typed_data import UserSettlement
from serving_network.settlement.journal.decisions import CannotVoid
from tests.settlement.test_journal_rules import (
    USERS,
    accepted,
    block_hash,
    book,
    hash_of,
    opened,
    read,
    row,
    send,
    state_of,
)


def test_an_adopted_settlement_has_no_signature(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
        journal.adopt(state_of(journal, USERS[0]), UserSettlement(USERS[0], 20, 7, b"h" * 32), 0, accepted(20, 6))
        (adopted,) = journal.summaries(1)
        assert (adopted.ended, adopted.batch.form, adopted.batch.signer) == (True, "adopted", "")
        assert (adopted.batch.signature, [row.signature for row in adopted.batch.rows]) == (b"", [b""])


def test_voiding_a_request_changes_the_totals_of_its_user_only(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, tokens=(7, 2)), row(3, USERS[1]))
        journal.void(hash_of(2), "wrong", 1)
        kept = journal.users()
        assert [(user.owed, user.input_tokens, user.output_tokens) for user in kept] == [(35, 10, 1), (35, 10, 1)]
        with pytest.raises(CannotVoid, match=f"Request 0x{hash_of(2).hex()} is already void"):
            journal.voidable(hash_of(2))
    with opened(tmp_path / "j") as journal:
        assert journal.users() == kept


@pytest.mark.parametrize(("number", "held"), [(1, True), (2, True), (3, True), (4, True), (5, True), (6, False)])
def test_a_free_request_within_a_live_settlement_cannot_be_voided(tmp_path: Path, number: int, held: bool) -> None:
    free: dict[str, Any] = {"fees": (0, 0)}
    with opened(tmp_path / "j") as journal:
        read(journal, row(1, **free), row(2), row(3, **free), row(4), row(5, **free))
        send(journal, 1, USERS[0])
        read(journal, row(7), row(6, **free))
        if held:
            with pytest.raises(CannotVoid, match="may still take effect"):
                journal.void(hash_of(number), "wrong", 1)
        else:
            assert journal.void(hash_of(number), "wrong", 1).fee == 0


@pytest.mark.parametrize(
    ("paid", "void", "start", "moved_to"),
    [
        (70, 1, 0, 35),  # behind a request that stays
        (35, 1, 0, 0),  # right behind the void request
        (20, 1, 0, 0),  # in its middle
        (70, 2, 35, 35),
        (35, 3, 70, 35),  # before it
        (0, 3, 70, 0),
    ],
)
def test_only_settlements_behind_a_void_request_move(
    tmp_path: Path, paid: int, void: int, start: int, moved_to: int
) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2), row(3), row(4), row(11, USERS[1]))
        first = send(journal, 1, *USERS[:2])
        book(journal, first, 5, (1, paid), (1, 9))
        second = send(journal, 2, *USERS[:2])
        journal.unbook(5, block_hash(5))
        journal.end_batch(first)
        journal.end_batch(second)
        assert journal.voidable(hash_of(void)).start == start
        journal.void(hash_of(void), "wrong", 1)
        before = [[one.paid_before for one in journal.batch(number).rows] for number in (1, 2)]
        assert before == [[0, 0], [moved_to, 9]]
        kept = [replace(user) for user in journal.users()]
    with opened(tmp_path / "j") as journal:
        assert journal.users() == kept
