# SPDX-License-Identifier: Apache-2.0
"""Which settlements of the chain are unknown, which nonces they get, and from which block they are searched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from serving_network.clients.settlements import Outcome
from serving_network.contracts.models import Status
from serving_network.messages.typed_data import UserSettlement
from serving_network.settlement.adopting import How, _first_block, _known, _unknown
from serving_network.settlement.chain import Head, PastSettlement
from serving_network.settlement.following import REORG_WINDOW
from serving_network.settlement.journal import Journal
from serving_network.settlement.journal.records import Acceptance, UserState

ADDRESS = "0x" + "01" * 20
USER = UserState(1, ADDRESS, 0, 0, 0, 0, 0, 0, 0, 0)
HEAD = Head(99, 0, "0xhead")


@dataclass
class Books:
    """What a journal knows of a user."""

    nonces: set[int] = field(default_factory=set)
    transactions: set[str] = field(default_factory=set)
    newest: int | None = None
    searched: int | None = None

    def accepted(self, _: UserState, nonce: int) -> bool:
        return nonce in self.nonces

    def accepted_nonce(self, _: UserState) -> int:
        return max(self.nonces, default=0)

    def accepted_by(self, _: UserState, transaction: str) -> bool:
        return transaction in self.transactions

    def last_acceptance(self, _: UserState) -> tuple[int, str] | None:
        return None if self.newest is None else (self.newest, "")

    def searched_block(self) -> int | None:
        return self.searched


def journal(books: Books) -> Journal:
    return cast("Journal", books)


def past(block: int, paid: int, nonce: int | None = None, transaction: str = "") -> PastSettlement:
    """A settlement; without a nonce, one that was made through a contract."""
    settlement = None if nonce is None else UserSettlement(ADDRESS, paid, nonce, bytes(32))
    transaction = transaction or f"0x{block}"
    return PastSettlement(
        ADDRESS, settlement, Acceptance(Outcome(Status.SUCCESS, paid), block, f"0xb{block}", transaction)
    )


@pytest.mark.parametrize(
    ("one", "books", "known"),
    [
        (past(5, 1, nonce=7), Books(), False),
        (past(5, 1, nonce=7), Books(transactions={"0x5"}), True),
        (past(5, 1), Books(transactions={"0x5"}), True),
        (past(5, 1, nonce=7), Books(nonces={7}, newest=1, searched=4), True),
        (past(5, 1, nonce=7), Books(nonces={8}, newest=1), True),
        (past(5, 1, nonce=7), Books(nonces={8}, newest=1, searched=5), True),
        (past(5, 1, nonce=7), Books(nonces={8}, newest=9, searched=4), False),
        (past(5, 1, nonce=7), Books(nonces={6}, newest=9, searched=9), False),
        (past(5, 1), Books(nonces={8}, newest=5), True),
        (past(5, 1), Books(nonces={8}, newest=5, searched=5), True),
        (past(5, 1), Books(nonces={8}, newest=5, searched=4), False),
        (past(5, 1), Books(nonces={8}, newest=4, searched=9), False),
        (past(5, 1), Books(searched=9), False),
    ],
)
def test_a_settlement_is_known_if_it_is_booked_or_older_than_what_is_searched(
    one: PastSettlement, books: Books, known: bool
) -> None:
    assert _known(journal(books), USER, one) is known


@pytest.mark.parametrize(
    ("found", "books", "nonces"),
    [
        ([past(1, 4), past(2, 1)], Books(), [(8, 4), (9, 1)]),
        ([past(1, 4), past(2, 1)], Books(nonces={9, 6}), [(7, 4), (8, 1)]),
        ([past(1, 4), past(2, 1)], Books(nonces={8}, transactions={"0x2"}), [(9, 4)]),
        ([past(1, 4), past(2, 1, nonce=6)], Books(nonces={6}), [(5, 4), (9, None)]),
        ([past(5, 4), past(7, 1, nonce=6)], Books(nonces={9}, newest=1, searched=10), [(5, 4)]),
        ([past(1, 3, nonce=5), past(2, 7, None, "0xa"), past(2, 8, None, "0xa")], Books(), [(5, 3), (9, 15)]),
        ([past(2, 7, None, "0xa"), past(2, 0, None, "0xa")], Books(), [(9, 7)]),
        ([past(2, 7, None, "0xa"), past(3, 8, None, "0xb")], Books(), [(8, 7), (9, 8)]),
        ([past(2, 7, None, "0xa"), past(2, 3, 5, "0xa")], Books(), [(4, 7), (5, 3), (9, None)]),
        ([past(2, 3, 5, "0xa"), past(2, 7, None, "0xa")], Books(), [(5, 3), (9, 7)]),
        ([], Books(nonces={9}), []),
    ],
    ids=[
        "highest nonces first", "booked nonces are skipped", "a booked one takes no nonce", "below a booked one",
        "below an older one", "two payments of one call", "one of nothing", "two calls", "before a named one",
        "after a named one", "nothing",
    ],
)  # fmt: skip
def test_a_settlement_through_a_contract_gets_the_highest_possible_nonce(
    found: list[PastSettlement], books: Books, nonces: list[tuple[int, int | None]]
) -> None:
    """The account's nonce is 9."""
    assert [(one.nonce, one.paid) for one in _unknown(journal(books), USER, 9, found, HEAD)] == nonces


@pytest.mark.parametrize(
    ("newest", "searched", "first"),
    [(None, 900, 3), (1000, None, 3), (1000, 900, 1000 - REORG_WINDOW), (1000, 500, 501), (200, 900, 3)],
)
def test_the_search_begins_where_the_journal_may_lack_a_settlement(
    newest: int | None, searched: int | None, first: int
) -> None:
    assert _first_block(journal(Books(newest=newest, searched=searched)), USER, 3) == first


@pytest.mark.parametrize(
    ("how", "named"),
    [
        (How.UNDECIDED, ["first run serving settle with every log", "--paid-before", "--covers"]),
        (How.NO_EVENTS, ["another node", "--paid-before", "--covers"]),
        (How.SIGNED_HERE, ["serving settle"]),
        (How.BEHIND, ["ask a node that is in sync"]),
    ],
)
def test_a_settlement_that_is_not_booked_names_what_helps(how: How, named: list[str]) -> None:
    assert not how.booked
    assert all(one in how.value for one in named)
