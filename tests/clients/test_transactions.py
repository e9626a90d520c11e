# SPDX-License-Identifier: Apache-2.0
"""Sending: simulation, concurrent nonces, replacement without double sending, and explained failures."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from eth_utils import keccak

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.fees import Fees
from serving_network.chain.signed import sign_transaction
from serving_network.clients.read.network import LOCAL_LEDGER
from serving_network.contracts import load
from serving_network.contracts.errors import LedgerNotExists, MinimumDepositRequired
from serving_network.contracts.old_calls import OLD_CALLS, OldStyleCall
from serving_network.errors import (
    NotEnoughCoins,
    OutOfGas,
    TransactionDropped,
    TransactionFailure,
    TransactionPending,
)
from serving_network.localchain import EmbeddedChain
from serving_network.money import WEI_PER_COIN as COIN
from serving_network.wallet.local import LocalSigner
from tests.clients.network_fixture import World, signer

T = TypeVar("T")
LEDGER = load("LedgerManager").interface
RECEIVER = "0x00000000000000000000000000000000000000AA"


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def test_fifty_concurrent_sends_of_one_key() -> None:
    async def send() -> None:
        async with await AsyncConnection.open(EmbeddedChain()) as chain:
            receipts = await asyncio.gather(*(chain.send(signer(1), RECEIVER, b"", value=7) for _ in range(50)))
            assert len({one.transaction_hash for one in receipts}) == 50
            assert await chain.balance(RECEIVER) == 350

    run(send())


@pytest.mark.parametrize("fees", [None, Fees(5 * 10**9, 10**9), Fees.gas_price(3 * 10**9)])
def test_both_kinds_of_fees(fees: Fees | None) -> None:
    async def send() -> None:
        async with await AsyncConnection.open(EmbeddedChain()) as chain:
            before = await chain.balance(signer(1).address)
            receipt = await chain.send(signer(1), RECEIVER, b"", value=7, fees=fees)
            assert receipt.gas_used == 21_000
            assert receipt.gas_price <= (fees.max_fee_per_gas if fees else 10**12)
            assert await chain.balance(signer(1).address) == before - 7 - receipt.cost

    run(send())


def test_a_call_that_would_fail_is_never_sent(world: World) -> None:
    async def send() -> None:
        async with await AsyncConnection.open(world.chain) as chain:
            data = LEDGER.encode("addLedger", "")
            for gas in (None, 300_000):
                with pytest.raises(MinimumDepositRequired):
                    await chain.prepare(signer(4), LOCAL_LEDGER, data, value=1, gas=gas)
            assert await chain.rpc("eth_getTransactionCount", [signer(4).address, "pending"]) == "0x0"

    run(send())


def test_a_call_of_the_old_version_says_what_to_do_instead(world: World) -> None:
    service = world.user.service("fine-tuning").address

    async def send() -> None:
        async with await AsyncConnection.open(world.chain) as chain:
            data = keccak(text=OLD_CALLS[0].signature)[:4] + bytes(64)
            with pytest.raises(OldStyleCall) as failure:
                await chain.send(signer(4), service, data)
        assert "serving account acknowledge" in str(failure.value.next_step)

    run(send())


def test_too_few_coins_are_reported_before_sending() -> None:
    async def send() -> None:
        async with await AsyncConnection.open(EmbeddedChain()) as chain:
            poor = LocalSigner(bytes(31) + b"\x09")
            with pytest.raises(NotEnoughCoins) as failure:
                await chain.send(poor, RECEIVER, b"", value=COIN)
            assert failure.value.has == 0
            assert failure.value.needs >= COIN

    run(send())


def test_a_mined_failure_is_explained(world: World) -> None:
    """Two calls that would succeed alone are mined in one block: the second one fails, and its reason is found."""

    async def send() -> None:
        async with await AsyncConnection.open(world.chain) as chain:
            await chain.rpc("evm_setAutomine", [False])
            refund = LEDGER.encode("refund", 1)
            signed = await chain.prepare(signer(4), LOCAL_LEDGER, LEDGER.encode("addLedger", ""), value=3 * COIN)
            await chain.broadcast(signed)
            fees = await chain.suggested_fees()
            doomed = await sign_transaction(
                signer(5), chain.chain_id, LOCAL_LEDGER, refund, value=0, gas=200_000, nonce=0, fees=fees
            )
            await chain.broadcast(doomed)
            await chain.rpc("evm_mine", [])
            await chain.rpc("evm_setAutomine", [True])
            assert (await chain.wait(signed)).succeeded
            with pytest.raises(LedgerNotExists) as failure:
                await chain.wait(doomed)
            assert failure.value.transaction == doomed.hash
            starved = await sign_transaction(
                signer(5),
                chain.chain_id,
                LOCAL_LEDGER,
                LEDGER.encode("depositFund"),
                value=3 * COIN,
                gas=30_000,
                nonce=1,
                fees=fees,
            )
            await chain.broadcast(starved)
            with pytest.raises(OutOfGas):
                await chain.wait(starved)

    run(send())


def test_a_stuck_transaction_is_replaced_and_not_sent_twice() -> None:
    async def send() -> None:
        async with await AsyncConnection.open(EmbeddedChain(automine=False)) as chain:
            stuck = await chain.prepare(signer(1), RECEIVER, b"", value=7)
            await chain.broadcast(stuck)
            with pytest.raises(TransactionPending) as pending:
                await chain.wait(stuck, timeout=0.2)
            assert pending.value.transaction == stuck.hash
            faster = await chain.replace(signer(1), stuck)
            assert faster.nonce == stuck.nonce
            assert faster.max_fee_per_gas > stuck.max_fee_per_gas
            await chain.broadcast(faster)
            await chain.rpc("evm_mine", [])
            receipt = await chain.wait(stuck, faster)
            assert receipt.transaction_hash == faster.hash
            with pytest.raises(TransactionDropped):
                await chain.wait(stuck)
            assert await chain.balance(RECEIVER) == 7
            with pytest.raises(TransactionFailure):
                await chain.replace(signer(2), stuck)

    run(send())


def test_a_transaction_can_be_cancelled() -> None:
    async def send() -> None:
        async with await AsyncConnection.open(EmbeddedChain(automine=False)) as chain:
            stuck = await chain.prepare(signer(1), RECEIVER, b"", value=7)
            await chain.broadcast(stuck)
            nothing = await chain.replace(signer(1), stuck, cancel=True)
            await chain.broadcast(nothing)
            await chain.rpc("evm_mine", [])
            assert (await chain.wait(nothing)).succeeded
            assert await chain.balance(RECEIVER) == 0

    run(send())


def test_a_transaction_can_be_sent_twice_and_a_forgotten_one_is_sent_again() -> None:
    async def send() -> None:
        chain_itself = EmbeddedChain(automine=False)
        async with await AsyncConnection.open(chain_itself) as chain:
            snapshot = await chain.rpc("evm_snapshot")
            signed = await chain.prepare(signer(1), RECEIVER, b"", value=7)
            await chain.broadcast(signed)
            assert await chain.broadcast(signed) == signed.hash
            await chain.rpc("evm_revert", [snapshot])
            await chain.rpc("evm_setAutomine", [True])
            assert (await chain.wait(signed, timeout=10)).succeeded
            assert await chain.broadcast(signed) == signed.hash
            assert await chain.balance(RECEIVER) == 7

    run(send())


def test_an_unused_nonce_is_used_next() -> None:
    async def send() -> None:
        async with await AsyncConnection.open(EmbeddedChain()) as chain:
            first = await chain.prepare(signer(1), RECEIVER, b"")
            second = await chain.prepare(signer(1), RECEIVER, b"")
            assert (first.nonce, second.nonce) == (0, 1)
            chain.release(first)
            assert (await chain.prepare(signer(1), RECEIVER, b"")).nonce == 0

    run(send())


def test_confirmations_are_counted_in_blocks() -> None:
    async def send() -> None:
        async with await AsyncConnection.open(EmbeddedChain()) as chain:
            signed = await chain.prepare(signer(1), RECEIVER, b"")
            await chain.broadcast(signed)
            with pytest.raises(TransactionPending):
                await chain.wait(signed, timeout=0.2, confirmations=3)
            await chain.rpc("evm_mine")
            await chain.rpc("evm_mine")
            assert (await chain.wait(signed, confirmations=3)).succeeded

    run(send())
