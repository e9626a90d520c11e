# SPDX-License-Identifier: Apache-2.0
"""What the only gateway of a store believes to be free: what it read, less what it billed and reserved since."""

from __future__ import annotations

import pytest

from serving_network.store.leases import FRESH, LocalMoney
from serving_network.store.lookups import Funds
from serving_network.store.opening import JournalFailure

USER = "0x1"


class Store:
    """A store with one user, whose bills come to `billed` wei."""

    def __init__(self) -> None:
        self.balance, self.billed, self.now, self.reads, self.full = 1000, 100, 0.0, 0, False
        self.money = LocalMoney(self.read, self.check, lambda: self.now)

    def read(self, user: str) -> tuple[Funds, int] | None:
        self.reads += 1
        return (Funds(self.balance, 0, self.billed), self.billed) if user == USER else None

    def check(self) -> None:
        if self.full:
            raise JournalFailure("The store does not take rows.")


def test_the_store_is_read_once_and_bills_and_reservations_are_subtracted() -> None:
    store = Store()
    assert store.money.free(USER) == 900
    store.money.take(USER, 50)
    assert store.money.free(USER) == 850
    store.billed = 120
    store.money.bill(USER, 120)
    store.money.give_back(USER, 50)
    assert (store.money.free(USER), store.reads) == (880, 1)


def test_a_bill_that_was_read_already_is_not_subtracted_again() -> None:
    store = Store()
    store.billed = 140
    assert store.money.free(USER) == 860
    store.money.bill(USER, 120)
    store.money.bill(USER, 140)
    assert store.money.free(USER) == 860


def test_the_store_is_read_again_after_a_while_and_when_it_was_forgotten() -> None:
    store = Store()
    store.money.free(USER)
    store.balance = 500
    store.now += FRESH
    assert store.money.free(USER) == 900
    store.now += 0.1
    assert store.money.free(USER) == 400
    store.balance = 300
    store.money.forget("0x2")
    assert store.money.free(USER) == 400
    store.money.forget(USER)
    assert store.money.free(USER) == 200
    store.balance = 200
    store.money.forget()
    assert store.money.free(USER) == 100


def test_nothing_is_free_for_a_stranger_nor_while_the_store_takes_no_rows() -> None:
    store = Store()
    assert store.money.free("0x2") == 0
    assert store.money.free(USER) == 900
    store.full = True
    with pytest.raises(JournalFailure):
        store.money.free(USER)
