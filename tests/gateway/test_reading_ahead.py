# SPDX-License-Identifier: Apache-2.0
"""What active users need is read before a request would wait for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from serving_network.clients.read.network import AsyncNetwork
from serving_network.contracts.models import Account
from serving_network.errors import NodeUnreachable
from serving_network.gateway import chain
from serving_network.gateway.chain import ACTIVE, AHEAD_SECONDS, FRESH, ChainView
from serving_network.store.intake import Intake

PROVIDER, ALICE, BOB, STRANGER = ("0x" + digit * 40 for digit in "1234")


@dataclass
class Node:
    """A node with two accounts, which can be down, and counts what it is asked."""

    accounts: dict[str, Account]
    down: bool = False
    asked: list[list[str]] = field(default_factory=list)

    @property
    def chain(self) -> Node:
        return self

    async def block_number(self) -> int:
        return 7

    async def accounts_with(self, _provider: str, users: list[str], *_: Any, **__: Any) -> dict[str, Account]:
        self.asked.append(users)
        if self.down:
            raise NodeUnreachable("down")
        return {user: self.accounts[user] for user in users if user in self.accounts}

    async def offer(self, *_: Any) -> None:
        return None


@dataclass
class Store:
    """Keeps the balances that it is given. Settlements of the users in `unbooked` are mined and not booked."""

    balances: dict[str, int] = field(default_factory=dict)
    unbooked: set[str] = field(default_factory=set)

    def funds(self, user: str) -> int | None:
        return self.balances.get(user)

    def unbooked_since(self, user: str, _nonce: int) -> int | None:
        return 5 if user in self.unbooked else None

    async def set_balance(self, user: str, balance: int, *_: Any) -> None:
        self.balances[user] = balance


class View(ChainView):
    """Its service is always known, and its clock is set by hand."""

    def __init__(self, node: Node, store: Store) -> None:
        self.time = 1000.0
        super().__init__(cast(AsyncNetwork, node), PROVIDER, "inference", cast(Intake, store), lambda: self.time)

    async def service(self, **_: Any) -> Any:
        return None

    async def pass_seconds(self, seconds: float) -> None:
        """Let the time pass, and everything be read that is read in it."""
        ahead = asyncio.create_task(self.read_ahead())
        end = self.time + seconds
        while self.time < end:
            self.time = min(end, self.time + AHEAD_SECONDS)
            for _ in range(20):
                await asyncio.sleep(0)
        ahead.cancel()


def account(balance: int) -> Account:
    values: dict[str, Any] = dict.fromkeys(Account.__dataclass_fields__)
    return replace(Account(**values), balance=balance, pending_refund=0, nonce=0)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setattr(chain, "AHEAD_SECONDS", 0.0)
    return Node({ALICE: account(10), BOB: account(20)})


def test_an_active_user_never_waits(node: Node) -> None:
    async def scenario() -> None:
        store = Store()
        view = View(node, store)
        for user in (ALICE, BOB, STRANGER):
            await view.account(user)
        node.accounts[ALICE] = account(9)
        await view.pass_seconds(2 * FRESH)
        assert view.fresh_account(ALICE) == account(9)
        assert store.balances == {ALICE: 9, BOB: 20}
        assert all(users == [BOB, ALICE] for users in node.asked[3:]), "all in one request, and no stranger"

    asyncio.run(scenario())


def test_a_user_who_stays_away_is_no_longer_read(node: Node) -> None:
    async def scenario() -> None:
        view = View(node, Store())
        await view.account(ALICE)
        await view.account(BOB)
        await view.pass_seconds(ACTIVE / 2)
        view.fresh_account(ALICE)
        await view.pass_seconds(ACTIVE / 2 + FRESH)
        node.asked.clear()
        await view.pass_seconds(FRESH)
        assert node.asked
        assert all(users == [ALICE] for users in node.asked)
        assert view.fresh_account(BOB) is None
        await view.pass_seconds(ACTIVE + FRESH)
        node.asked.clear()
        await view.pass_seconds(FRESH)
        assert node.asked == [], "an idle gateway asks nothing"

    asyncio.run(scenario())


def test_a_crowd_does_not_exhaust_the_node(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "AHEAD_USERS", 1)

    async def scenario() -> None:
        view = View(node, Store())
        await view.account(ALICE)
        await view.account(BOB)
        node.asked.clear()
        await view.pass_seconds(FRESH)
        assert node.asked
        assert all(users == [BOB] for users in node.asked), "the user of the latest request"

    asyncio.run(scenario())


def test_what_is_known_grows_old_while_the_node_is_down(node: Node) -> None:
    async def scenario() -> None:
        view = View(node, Store())
        await view.account(ALICE)
        node.down = True
        await view.pass_seconds(2 * FRESH)
        assert view.fresh_account(ALICE) is None
        node.down = False
        await view.pass_seconds(AHEAD_SECONDS)
        assert view.fresh_account(ALICE) is not None

    asyncio.run(scenario())


def test_a_user_whose_settlement_is_not_booked_is_read_by_the_next_request(node: Node) -> None:
    async def scenario() -> None:
        store = Store()
        view = View(node, store)
        await view.account(ALICE)
        store.unbooked.add(ALICE)
        node.accounts[ALICE] = account(9)
        await view.pass_seconds(2 * FRESH)
        assert view.fresh_account(ALICE) is None
        assert store.balances == {ALICE: 10}

    asyncio.run(scenario())


def test_an_older_read_does_not_undo_a_newer_one(node: Node) -> None:
    async def scenario() -> None:
        store = Store()
        view = View(node, store)
        await view.account(ALICE)
        began = view.now()
        view.time += 1
        node.accounts[ALICE] = account(3)
        await view.account(ALICE, since=view.now())
        await view._take(ALICE, account(10), 6, began)
        assert view.fresh_account(ALICE) == account(3)
        assert store.balances == {ALICE: 3}

    asyncio.run(scenario())
