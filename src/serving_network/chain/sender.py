# SPDX-License-Identifier: Apache-2.0
"""Prepare, send, follow and replace transactions."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from serving_network.chain import failures
from serving_network.chain.fees import REPLACEMENT_PERCENT, Fees
from serving_network.chain.node import from_quantity
from serving_network.chain.nonces import Nonces
from serving_network.chain.reading import AsyncReader
from serving_network.chain.shortage import get_coins
from serving_network.chain.signed import sign_transaction
from serving_network.errors import NodeFailure, NotEnoughCoins, RpcError, TransactionFailure
from serving_network.messages.transactions import SignedTransaction
from serving_network.money import WEI_PER_GWEI, describe, rounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.chain.receipts import Receipt
    from serving_network.signing import Signer

GAS_MARGIN_PERCENT: Final = 20
SURE_AFTER = 5.0
"""Seconds for which a transaction must be unknown to the node before it counts as dropped."""
FIRST_POLL = 0.05
LONGEST_POLL = 2.0
_ALREADY_KNOWN: Final = ("already known", "already imported", "known transaction")


class AsyncSender(AsyncReader):
    """A node to which transactions are sent. Any number of sends may run at once, also with the same key."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._nonces = Nonces()

    async def suggested_fees(self) -> Fees:
        """Fees with which a transaction is mined soon: twice the base fee, or the gas price if there is none."""
        head = await self.block("latest")
        if head.get("baseFeePerGas") is None:
            return Fees.gas_price(from_quantity(await self.rpc("eth_gasPrice")))
        try:
            tip = from_quantity(await self.rpc("eth_maxPriorityFeePerGas"))
        except RpcError:
            tip = WEI_PER_GWEI
        return Fees(2 * from_quantity(head["baseFeePerGas"]) + tip, tip)

    async def estimate_gas(self, sender: str, to: str | None, data: bytes, value: int = 0) -> int:
        """The gas that the call needs, plus a margin. Raises the ContractError that it would fail with."""
        requested = {"from": sender, "data": "0x" + data.hex(), "value": hex(value)}
        if to is not None:
            requested["to"] = to
        try:
            needed = from_quantity(await self.rpc("eth_estimateGas", [requested]))
        except RpcError as refusal:
            raise await failures.refused_estimate(self, refusal, requested) from None
        return needed + needed * GAS_MARGIN_PERCENT // 100

    async def prepare(
        self,
        account: Signer,
        to: str | None,
        data: bytes,
        *,
        value: int = 0,
        gas: int | None = None,
        nonce: int | None = None,
        fees: Fees | None = None,
    ) -> SignedTransaction:
        """Sign a transaction that would succeed now, without sending it. `to` None creates a contract.

        Without `gas` it is estimated. Without `nonce` the next free one is reserved, until the transaction is mined or
        `release` is called. Raises the ContractError that the call would fail with, and NotEnoughCoins, before anything
        is spent.
        """
        await self.check_chain_id()
        if gas is None:
            gas = await self.estimate_gas(account.address, to, data, value)
        elif to is not None:
            await self.call(to, data, sender=account.address, value=value)
        fees = fees or await self.suggested_fees()
        await self._check_funds(account.address, value, gas * fees.max_fee_per_gas)
        reserved = nonce if nonce is not None else await self._nonces.reserve(self, account.address)
        try:
            return await sign_transaction(
                account, self.chain_id, to, data, value=value, gas=gas, nonce=reserved, fees=fees
            )
        except BaseException:
            if nonce is None:
                self._nonces.release(account.address, reserved)
            raise

    async def broadcast(self, signed: SignedTransaction) -> str:
        """Send the transaction to the node. Returns its hash. Sending the same transaction again is harmless.

        Raises TransactionDropped if another transaction has used its nonce, and TransactionFailure if the node rejects
        it; both release the nonce. Raises TransactionPending if the node may have accepted it but did not confirm.
        """
        try:
            try:
                await self.rpc("eth_sendRawTransaction", ["0x" + signed.raw.hex()])
            except RpcError as refusal:
                if not await self._is_known(signed, refusal):
                    reason = await failures.rejected(self, signed, refusal)
                    self.release(signed)
                    raise reason from None
        except NodeFailure as failure:
            raise failures.unknown_fate(signed.hash, failure) from failure
        return signed.hash

    def release(self, signed: SignedTransaction) -> None:
        """Release the nonce of a transaction that will not be sent, or that the node counts by now."""
        self._nonces.release(signed.sender, signed.nonce)

    async def send(
        self,
        account: Signer,
        to: str | None,
        data: bytes,
        *,
        value: int = 0,
        gas: int | None = None,
        fees: Fees | None = None,
        timeout: float = 120,
        confirmations: int = 1,
    ) -> Receipt:
        """Prepare, broadcast and wait. If the node fails after sending, raises TransactionPending with the hash."""
        signed = await self.prepare(account, to, data, value=value, gas=gas, fees=fees)
        await self.broadcast(signed)
        return await self.wait(signed, timeout=timeout, confirmations=confirmations)

    async def wait(self, *sent: SignedTransaction | str, timeout: float = 120, confirmations: int = 1) -> Receipt:
        """The receipt of the first of these transactions that is mined, once it is `confirmations` blocks deep.

        Pass several transactions if one replaces the other. A signed transaction that the node no longer knows is sent
        again. Raises the ContractError of a transaction that failed, OutOfGas, TransactionDropped, and
        TransactionPending after `timeout` seconds or if the node fails.
        """
        try:
            return await self._wait(sent, time.monotonic() + timeout, timeout, confirmations)
        except NodeFailure as failure:
            raise failures.unknown_fate(_hash_of(sent[-1]), failure) from failure

    async def _wait(
        self, sent: Sequence[SignedTransaction | str], deadline: float, timeout: float, confirmations: int
    ) -> Receipt:
        pause = FIRST_POLL
        while True:
            receipt = await self._first_receipt(sent)
            if receipt is not None and await self._depth(receipt) >= confirmations:
                for transaction in sent:
                    if isinstance(transaction, SignedTransaction):
                        self.release(transaction)
                if not receipt.succeeded:
                    raise await failures.mined_failure(self, receipt)
                return receipt
            if receipt is None:
                await self._keep_alive(sent)
            if time.monotonic() + pause > deadline:
                raise failures.still_pending(_hash_of(sent[-1]), timeout)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_POLL)

    async def replace(
        self, account: Signer, stuck: SignedTransaction, *, fees: Fees | None = None, cancel: bool = False
    ) -> SignedTransaction:
        """Sign the same transaction with higher fees, without sending it. Only one of the two can be mined.

        With `cancel` the replacement does nothing, so that the stuck transaction never takes effect.
        """
        if account.address != stuck.sender:
            raise TransactionFailure(
                f"{account.address} cannot replace a transaction of {stuck.sender}.",
                transaction=stuck.hash,
                next_step=f"Use the key of {stuck.sender}.",
            )
        higher = Fees.of(stuck).raised(REPLACEMENT_PERCENT).at_least(fees or await self.suggested_fees())
        to, data, value, gas = (account.address, b"", 0, 21_000) if cancel else _contents(stuck)
        return await sign_transaction(
            account, self.chain_id, to, data, value=value, gas=gas, nonce=stuck.nonce, fees=higher
        )

    async def _check_funds(self, address: str, value: int, gas_cost: int) -> None:
        has = await self.balance(address)
        if has < value + gas_cost:
            raise NotEnoughCoins(
                f"{address} has {rounded(has)} and needs {rounded(value + gas_cost, at_most=True)}"
                f" ({describe(value)} to move, up to {rounded(gas_cost, at_most=True)} for gas).",
                address=address,
                has=has,
                needs=value + gas_cost,
                next_step=get_coins(self.chain_id, address, value + gas_cost - has),
            )

    async def _is_known(self, signed: SignedTransaction, refusal: RpcError) -> bool:
        if any(words in str(refusal).lower() for words in _ALREADY_KNOWN):
            return True
        return not await self._is_gone(signed)

    async def _is_gone(self, *sent: SignedTransaction) -> bool:
        """Whether the node knows none of these transactions.

        If their nonce is used, it must be so for SURE_AFTER seconds: a node counts a transaction before it finds it,
        and treating it as dropped would send it a second time.
        """
        began = time.monotonic()
        while True:
            for one in sent:
                if await self.transaction(one.hash) is not None or await self.receipt(one.hash) is not None:
                    return False
            if await self.mined_count(sent[0].sender) <= sent[0].nonce or time.monotonic() - began >= SURE_AFTER:
                return True
            await asyncio.sleep(SURE_AFTER / 10)

    async def _first_receipt(self, sent: Sequence[SignedTransaction | str]) -> Receipt | None:
        for transaction in sent:
            receipt = await self.receipt(_hash_of(transaction))
            if receipt is not None:
                return receipt
        return None

    async def _depth(self, receipt: Receipt) -> int:
        """The number of blocks from the receipt's block to the newest one, both included."""
        return await self.block_number() - receipt.block_number + 1

    async def _keep_alive(self, sent: Sequence[SignedTransaction | str]) -> None:
        """Send a transaction again if the node no longer knows it. Raises TransactionDropped if it is too late."""
        signed = [one for one in sent if isinstance(one, SignedTransaction)]
        if not signed or not await self._is_gone(*signed):
            return
        for one in signed:
            if await self.mined_count(one.sender) > one.nonce:
                raise failures.dropped(one)
        if signed[-1] is sent[-1]:
            await self.broadcast(signed[-1])


def _contents(stuck: SignedTransaction) -> tuple[str | None, bytes, int, int]:
    return stuck.to, stuck.data, stuck.value, stuck.gas


def _hash_of(transaction: SignedTransaction | str) -> str:
    return transaction if isinstance(transaction, str) else transaction.hash
