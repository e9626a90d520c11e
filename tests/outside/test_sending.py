# SPDX-License-Identifier: Apache-2.0
"""Sending while the node fails: what was sent is never reported as unsent, and nothing is sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.chain import node as node_module
from serving_network.chain import sender as transactions_module
from serving_network.chain.connection import AsyncConnection
from serving_network.chain.transport import TransientFailure
from serving_network.clients.user import AsyncUser
from serving_network.errors import (
    NodeFailure,
    RpcError,
    ServingError,
    TransactionDropped,
    TransactionFailure,
    TransactionPending,
)
from serving_network.localchain import EmbeddedChain
from serving_network.money import WEI_PER_COIN as COIN
from tests.clients.network_fixture import World, signer
from tests.outside.clear import is_clear
from tests.outside.nodes import Scripted

T = TypeVar("T")
RECEIVER = "0x00000000000000000000000000000000000000AA"
SEND = "eth_sendRawTransaction"
RECEIPT = "eth_getTransactionReceipt"
KNOWN = "eth_getTransactionByHash"

Change = Callable[[str, list[Any], Any], Any]


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "FIRST_PAUSE", 0.0001)
    monkeypatch.setattr(transactions_module, "FIRST_POLL", 0.001)
    monkeypatch.setattr(transactions_module, "LONGEST_POLL", 0.01)
    monkeypatch.setattr(transactions_module, "SURE_AFTER", 0.5)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def pay(chain: Any, change: Change, *, timeout: float = 2, confirmations: int = 1) -> Any:
    """Send 7 wei with a node whose answers are changed. Returns the receipt or the failure."""

    async def work() -> Any:
        async with await AsyncConnection.open(Scripted(chain, change), attempts=2) as connection:
            try:
                return await connection.send(
                    signer(1), RECEIVER, b"", value=7, timeout=timeout, confirmations=confirmations
                )
            except ServingError as error:
                is_clear(error)
                return error

    return run(work())


def paid(chain: Any) -> int:
    return int(chain.request("eth_getBalance", [RECEIVER, "latest"]), 16)


def failing(*methods: str, times: int = 10**9, error: Exception | None = None) -> Change:
    """Loses the answers of these methods: the node executes the request, but the answer does not arrive."""
    left = [times]

    def change(method: str, _: list[Any], found: Any) -> Any:
        if method in methods and left[0] > 0:
            left[0] -= 1
            raise error or TransientFailure("the connection was reset")
        return found

    return change


def test_a_lost_answer_after_the_node_accepted_the_transaction_is_not_a_failure_to_send() -> None:
    chain = EmbeddedChain()
    failed = pay(chain, failing(SEND, KNOWN, RECEIPT))
    assert isinstance(failed, TransactionPending)
    assert failed.transaction is not None
    assert chain.request(RECEIPT, [failed.transaction])["status"] == "0x1"
    assert (paid(chain), failed.exit_code) == (7, 8)
    assert "transaction show" in str(failed.next_step)


def test_one_lost_answer_is_recovered_by_a_retry() -> None:
    chain = EmbeddedChain()
    assert pay(chain, failing(SEND, times=1)).succeeded
    assert paid(chain) == 7


@pytest.mark.parametrize("method", [RECEIPT, "eth_blockNumber"])
def test_a_node_that_stops_during_the_wait_leaves_the_transaction_pending(method: str) -> None:
    chain = EmbeddedChain()
    failed = pay(chain, failing(method))
    assert isinstance(failed, TransactionPending)
    assert "do not send it a second time" in str(failed.cause)
    assert paid(chain) == 7


def test_a_transaction_that_is_counted_before_it_is_found_is_not_dropped() -> None:
    chain = EmbeddedChain()
    looks = [0]

    def slow(method: str, _: list[Any], found: Any) -> Any:
        if method in (RECEIPT, KNOWN) and found is not None:
            looks[0] += 1
            return None if looks[0] <= 5 else found
        return found

    assert pay(chain, slow, confirmations=1).succeeded
    assert paid(chain) == 7


def test_a_receipt_that_disappears_and_returns_is_waited_for() -> None:
    chain = EmbeddedChain(automine=False)
    looks = [0]

    def reorganised(method: str, _: list[Any], found: Any) -> Any:
        if method == RECEIPT:
            looks[0] += 1
            chain.request("evm_mine", [])
            return None if found is not None and looks[0] in (4, 5) else found
        return found

    receipt = pay(chain, reorganised, confirmations=6)
    assert receipt.succeeded
    assert looks[0] > 5
    assert paid(chain) == 7


def test_a_transaction_whose_nonce_was_used_is_dropped_after_a_while() -> None:
    async def work() -> None:
        chain = EmbeddedChain()
        async with await AsyncConnection.open(chain) as connection:
            lost = await connection.prepare(signer(1), RECEIVER, b"", value=7)
            connection.release(lost)
            await connection.send(signer(1), RECEIVER, b"", value=1)
            for attempt in (connection.broadcast(lost), connection.wait(lost, timeout=3)):
                with pytest.raises(TransactionDropped) as failure:
                    await attempt
                is_clear(failure.value)
        assert paid(chain) == 1

    run(work())


def other(**fields: Any) -> Change:
    """Receipts with these fields changed; `...` omits one."""

    def change(method: str, _: list[Any], found: Any) -> Any:
        if method != RECEIPT or found is None:
            return found
        return {name: value for name, value in (found | fields).items() if value is not ...}

    return change


@pytest.mark.parametrize(
    "change",
    [
        other(transactionHash="0x" + "cd" * 32),
        other(logs=...),
        other(blockHash=None),
        other(status="0x1f"),
        other(blockNumber="latest"),
        lambda method, _, found: [found] if method == RECEIPT else found,
        lambda method, _, found: "0x1" if method == RECEIPT else found,
    ],
)
def test_an_incomplete_receipt_leaves_the_transaction_pending(change: Change) -> None:
    chain = EmbeddedChain()
    assert isinstance(pay(chain, change), TransactionPending)
    assert paid(chain) == 7


def test_an_unknown_refusal_has_a_next_step_and_releases_the_nonce() -> None:
    chain = EmbeddedChain()

    def refuse(method: str, _: list[Any], found: Any) -> Any:
        if method == SEND:
            raise RpcError(-32000, "\x1b[31mno\ud800")
        return None if method in (RECEIPT, KNOWN) else found

    async def work() -> None:
        async with await AsyncConnection.open(Scripted(EmbeddedChain(automine=False), refuse)) as connection:
            for _ in range(2):
                with pytest.raises(TransactionFailure) as failure:
                    await connection.send(signer(1), RECEIVER, b"", value=7)
                assert failure.value.next_step
                assert failure.value.transaction

    run(work())
    assert paid(chain) == 0


FAULTS: list[tuple[str, Any]] = [
    ("lost", TransientFailure("reset")),
    ("refused", RpcError(-32000, "internal error")),
    ("null", None),
    ("nonsense", {"a": 1}),
    ("number", "0x0"),
]


@settings(max_examples=70)
@given(
    when=st.integers(0, 25),
    how=st.sampled_from(FAULTS),
    length=st.integers(1, 12),
    after=st.booleans(),
    automine=st.booleans(),
)
def test_acting_on_any_failure_never_pays_twice(
    when: int, how: tuple[str, Any], length: int, after: bool, automine: bool
) -> None:
    """Somebody sends, and sends again only if the failure does not say that it may have been sent."""
    chain = EmbeddedChain(automine=automine)
    asked = [0]

    def before(method: str, params: list[Any]) -> Any:
        asked[0] += 1
        if when <= asked[0] < when + length and not method.startswith("evm_"):
            if after:
                with suppress(RpcError):
                    chain.request(method, params)
            if isinstance(how[1], Exception):
                raise how[1]
            return how[1]
        found = chain.request(method, params)
        if method == RECEIPT:
            chain.request("evm_mine", [])
        return found

    class Node:
        request = staticmethod(before)

    async def work() -> None:
        for _ in range(4):
            try:
                async with await AsyncConnection.open(Node(), attempts=2) as connection:
                    await connection.send(signer(1), RECEIVER, b"", value=7, timeout=0.5)
            except ServingError as error:
                is_clear(error)
                if not isinstance(error, TransactionPending):
                    continue
            return

    run(work())
    chain.request("evm_mine", [])
    assert paid(chain) in (0, 7)


# Commands that send repeatedly


def test_a_top_up_that_may_be_sent_is_not_sent_again(world: World) -> None:
    world.with_account(20 * COIN, 2 * COIN)
    provider, user = world.provider.address, world.user.address

    async def work() -> None:
        lossy = Scripted(world.chain, failing(SEND, KNOWN, RECEIPT))
        async with await AsyncConnection.open(lossy, attempts=2) as connection:
            client = AsyncUser(connection, signer(3))
            with pytest.raises(TransactionPending) as failure:
                await client.top_up(provider, 3 * COIN, 5 * COIN)
            assert not isinstance(failure.value, NodeFailure)

    run(work())
    account = world.user.account(user, provider)
    assert account is not None
    assert account.balance == 5 * COIN
