# SPDX-License-Identifier: Apache-2.0
"""Making, sending, following and replacing transactions."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eth_utils import to_checksum_address

from serving_network.chain.node import from_hex, from_quantity
from serving_network.chain.reading import AsyncReader
from serving_network.chain.receipts import Receipt
from serving_network.contracts.old_calls import OldStyleCall, recognise_call
from serving_network.contracts.reverts import RevertedWithoutReason, explain_refusal
from serving_network.errors import (
    ContractError,
    NodeFailure,
    NotEnoughCoins,
    OutOfGas,
    RpcError,
    ServingError,
    TransactionDropped,
    TransactionFailure,
    TransactionPending,
)
from serving_network.messages.transactions import SignedTransaction
from serving_network.money import WEI_PER_GWEI, describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.signing import Signer

GAS_MARGIN_PERCENT = 20
REPLACEMENT_PERCENT = 25  # nodes ask for 10 to 12.5 % more
SURE_AFTER = 5.0  # seconds that a transaction must stay unknown before it counts as dropped
FIRST_LOOK = 0.05
LONGEST_LOOK = 2.0


@dataclass(frozen=True)
class Fees:
    """What one unit of gas may cost, in wei. A chain without a base fee takes `legacy` transactions."""

    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    legacy: bool = False

    @classmethod
    def gas_price(cls, wei: int) -> Fees:
        """One price for a unit of gas, as chains before EIP-1559 know it."""
        return cls(wei, wei, legacy=True)

    def raised(self, percent: int) -> Fees:
        """Fees higher by `percent`, and by 1 wei at least."""
        fee = self.max_fee_per_gas * (100 + percent) // 100 + 1
        tip = self.max_priority_fee_per_gas * (100 + percent) // 100 + 1
        return Fees(fee, min(tip, fee), self.legacy)

    @classmethod
    def of(cls, signed: SignedTransaction) -> Fees:
        """The fees of a signed transaction."""
        return cls(signed.max_fee_per_gas, signed.max_priority_fee_per_gas, signed.legacy)

    def at_least(self, other: Fees) -> Fees:
        """The higher of the two, field by field."""
        return Fees(
            max(self.max_fee_per_gas, other.max_fee_per_gas),
            max(self.max_priority_fee_per_gas, other.max_priority_fee_per_gas),
            self.legacy,
        )


class AsyncSender(AsyncReader):
    """A node through which transactions are sent. Any number of sends may run at once, also of one key."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reserved: dict[str, set[int]] = {}
        self._reserving = asyncio.Lock()

    async def suggested_fees(self) -> Fees:
        """Fees with which a transaction is mined soon: twice the base fee, or the gas price where there is none."""
        head = await self.block("latest")
        if head.get("baseFeePerGas") is None:
            return Fees.gas_price(from_quantity(await self.rpc("eth_gasPrice")))
        try:
            tip = from_quantity(await self.rpc("eth_maxPriorityFeePerGas"))
        except RpcError:
            tip = WEI_PER_GWEI
        return Fees(2 * from_quantity(head["baseFeePerGas"]) + tip, tip)

    async def estimate_gas(self, sender: str, to: str | None, data: bytes, value: int = 0) -> int:
        """Gas that the call needs, with a margin. Raises the ContractError with which it would fail."""
        asked = {"from": sender, "data": "0x" + data.hex(), "value": hex(value)}
        if to is not None:
            asked["to"] = to
        try:
            needed = from_quantity(await self.rpc("eth_estimateGas", [asked]))
        except RpcError as refusal:
            raise await self._why_refused(refusal, asked) from None
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
        """A signed transaction, not yet sent, that would succeed now. `to` None creates a contract.

        Without `gas` it is estimated. Without `nonce` the next free one is reserved, until the transaction is mined or
        `release` gives the nonce back. Raises the ContractError that the call would fail with, and NotEnoughCoins,
        before anything is spent.
        """
        await self.check_chain_id()
        if gas is None:
            gas = await self.estimate_gas(account.address, to, data, value)
        elif to is not None:
            await self.call(to, data, sender=account.address, value=value)
        fees = fees or await self.suggested_fees()
        await self._check_funds(account.address, value, gas * fees.max_fee_per_gas)
        reserved = nonce if nonce is not None else await self._reserve_nonce(account.address)
        try:
            return await self._sign(account, to, data, value, gas, reserved, fees)
        except BaseException:
            if nonce is None:
                self._free_nonce(account.address, reserved)
            raise

    async def broadcast(self, signed: SignedTransaction) -> str:
        """Hand the transaction to the node; returns its hash. Sending the same one again does no harm.

        Raises TransactionDropped when another transaction has taken its nonce, and TransactionFailure when
        the node refuses it; its nonce is free again then. Raises TransactionPending when the node may have
        taken it but did not say so.
        """
        try:
            try:
                await self.rpc("eth_sendRawTransaction", ["0x" + signed.raw.hex()])
            except RpcError as refusal:
                if not await self._is_known(signed, refusal):
                    reason = await self._why_not_taken(signed, refusal)
                    self.release(signed)
                    raise reason from None
        except NodeFailure as failure:
            raise _unknown_fate(signed, failure) from failure
        return signed.hash

    def release(self, signed: SignedTransaction) -> None:
        """Stop holding the nonce of a transaction that will not be sent, or that the chain itself counts now."""
        self._free_nonce(signed.sender, signed.nonce)

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
        """Prepare, broadcast and wait. When it is interrupted after sending, TransactionPending names the hash."""
        signed = await self.prepare(account, to, data, value=value, gas=gas, fees=fees)
        await self.broadcast(signed)
        return await self.wait(signed, timeout=timeout, confirmations=confirmations)

    async def wait(self, *sent: SignedTransaction | str, timeout: float = 120, confirmations: int = 1) -> Receipt:
        """The receipt of the first of these transactions that is mined, `confirmations` blocks deep.

        Several are given when one replaces the other. A signed one that the node has forgotten is sent
        again. Raises the ContractError of a transaction that failed, OutOfGas, TransactionDropped, and
        TransactionPending after `timeout` seconds or when the node can no longer be asked.
        """
        try:
            return await self._wait(sent, time.monotonic() + timeout, timeout, confirmations)
        except NodeFailure as failure:
            raise _unknown_fate(sent[-1], failure) from failure

    async def _wait(
        self, sent: Sequence[SignedTransaction | str], deadline: float, timeout: float, confirmations: int
    ) -> Receipt:
        pause = FIRST_LOOK
        while True:
            receipt = await self._first_receipt(sent)
            if receipt is not None and await self._depth(receipt) >= confirmations:
                for transaction in sent:
                    if isinstance(transaction, SignedTransaction):
                        self.release(transaction)
                if not receipt.succeeded:
                    raise await self._why_failed(receipt)
                return receipt
            if receipt is None:
                await self._keep_alive(sent)
            if time.monotonic() + pause > deadline:
                raise self._still_pending(sent, timeout)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_LOOK)

    async def replace(
        self, account: Signer, stuck: SignedTransaction, *, fees: Fees | None = None, cancel: bool = False
    ) -> SignedTransaction:
        """The same transaction with a higher fee, signed and not yet sent; of the two only one can be mined.

        With `cancel` it moves nothing, so that the stuck one never takes effect.
        """
        if account.address != stuck.sender:
            raise TransactionFailure(
                f"{account.address} cannot replace a transaction of {stuck.sender}.", transaction=stuck.hash
            )
        higher = Fees.of(stuck).raised(REPLACEMENT_PERCENT).at_least(fees or await self.suggested_fees())
        if cancel:
            return await self._sign(account, account.address, b"", 0, 21_000, stuck.nonce, higher)
        return await self._sign(account, stuck.to, stuck.data, stuck.value, stuck.gas, stuck.nonce, higher)

    async def _sign(
        self, account: Signer, to: str | None, data: bytes, value: int, gas: int, nonce: int, fees: Fees
    ) -> SignedTransaction:
        target = to_checksum_address(to) if to is not None else None
        fields: dict[str, Any] = {
            "chainId": self.chain_id,
            "nonce": nonce,
            "to": target or b"",
            "value": value,
            "data": data,
            "gas": gas,
        }
        if fees.legacy:
            fields |= {"gasPrice": fees.max_fee_per_gas}
        else:
            fields |= {
                "type": 2,
                "maxFeePerGas": fees.max_fee_per_gas,
                "maxPriorityFeePerGas": fees.max_priority_fee_per_gas,
            }
        raw = await asyncio.to_thread(account.sign_transaction, fields)
        expected = {
            "chain_id": self.chain_id,
            "nonce": nonce,
            "to": target,
            "value": value,
            "data": data,
            "gas": gas,
            "max_fee_per_gas": fees.max_fee_per_gas,
            "max_priority_fee_per_gas": fees.max_fee_per_gas if fees.legacy else fees.max_priority_fee_per_gas,
            "legacy": fees.legacy,
        }
        try:
            signed = SignedTransaction.decode(raw, account.address)
        except ValueError as error:
            raise _wrongly_signed(account, str(error)) from error
        if wrong := signed.differences(expected):
            raise _wrongly_signed(account, f"It differs in: {', '.join(wrong)}.")
        return signed

    async def _reserve_nonce(self, address: str) -> int:
        """The lowest nonce that neither the node nor a send of this process has taken."""
        async with self._reserving:
            mined, pending = await self.batch(
                [("eth_getTransactionCount", [address, block]) for block in ("latest", "pending")]
            )
            if isinstance(mined, RpcError):
                raise mined
            lowest = from_quantity(mined)
            first = lowest if isinstance(pending, RpcError) else max(lowest, from_quantity(pending))
            taken = {nonce for nonce in self._reserved.get(address, set()) if nonce >= first}
            self._reserved[address] = taken
            while first in taken:
                first += 1
            taken.add(first)
            return first

    def _free_nonce(self, address: str, nonce: int) -> None:
        self._reserved.get(address, set()).discard(nonce)

    async def _check_funds(self, address: str, value: int, gas_cost: int) -> None:
        has = await self.balance(address)
        if has < value + gas_cost:
            raise NotEnoughCoins(
                f"{address} has {describe(has)} and needs {describe(value + gas_cost)}"
                f" ({describe(value)} to move, up to {describe(gas_cost)} for gas).",
                address=address,
                has=has,
                needs=value + gas_cost,
            )

    async def _why_refused(self, refusal: RpcError, asked: dict[str, Any]) -> ServingError:
        """The reason for a failed estimate; nodes that leave out the revert data give it to eth_call."""
        reason = explain_refusal(refusal)
        if isinstance(reason, ContractError) and not isinstance(reason, RevertedWithoutReason):
            return reason
        if "insufficient funds" in str(refusal).lower():
            has, needs = await self.balance(asked["from"]), from_quantity(asked["value"])
            return NotEnoughCoins(
                f"{asked['from']} has {describe(has)} and needs {describe(needs)} and the gas.",
                address=asked["from"],
                has=has,
                needs=needs,
            )
        try:
            await self.rpc("eth_call", [asked, "latest"])
        except RpcError as second:
            reason = explain_refusal(second)
        old = recognise_call(from_hex(asked["data"]))
        return OldStyleCall(old) if old and isinstance(reason, RevertedWithoutReason) else reason

    async def _is_known(self, signed: SignedTransaction, refusal: RpcError) -> bool:
        told = str(refusal).lower()
        if "already known" in told or "already imported" in told or "known transaction" in told:
            return True
        return not await self._is_gone(signed)

    async def _is_gone(self, *sent: SignedTransaction) -> bool:
        """Whether the node knows none of these. Where their nonce is used, it must say so for SURE_AFTER seconds: a
        node counts a transaction before it finds it, and who takes it for lost sends it a second time."""
        began = time.monotonic()
        while True:
            for one in sent:
                if await self.transaction(one.hash) is not None or await self.receipt(one.hash) is not None:
                    return False
            if await self._mined_count(sent[0].sender) <= sent[0].nonce or time.monotonic() - began >= SURE_AFTER:
                return True
            await asyncio.sleep(SURE_AFTER / 10)

    async def _mined_count(self, address: str) -> int:
        return from_quantity(await self.rpc("eth_getTransactionCount", [address, "latest"]))

    async def _why_not_taken(self, signed: SignedTransaction, refusal: RpcError) -> ServingError:
        if await self._mined_count(signed.sender) > signed.nonce:
            return _dropped(signed)
        if "insufficient funds" in str(refusal).lower():
            has, needs = await self.balance(signed.sender), signed.value + signed.gas * signed.max_fee_per_gas
            return NotEnoughCoins(
                f"{signed.sender} has {describe(has)} and needs {describe(needs)}.",
                address=signed.sender,
                has=has,
                needs=needs,
            )
        reason = explain_refusal(refusal)
        if isinstance(reason, ContractError):
            return reason
        return TransactionFailure(
            f"The node does not take the transaction: {refusal}.", transaction=signed.hash, next_step="Try again."
        )

    async def _first_receipt(self, sent: Sequence[SignedTransaction | str]) -> Receipt | None:
        for transaction in sent:
            receipt = await self.receipt(_hash_of(transaction))
            if receipt is not None:
                return receipt
        return None

    async def _depth(self, receipt: Receipt) -> int:
        """How many blocks deep the receipt is, its own counted."""
        return await self.block_number() - receipt.block_number + 1

    async def _keep_alive(self, sent: Sequence[SignedTransaction | str]) -> None:
        """Send again what the node forgot; report what can no longer be mined."""
        signed = [one for one in sent if isinstance(one, SignedTransaction)]
        if not signed or not await self._is_gone(*signed):
            return
        for one in signed:
            if await self._mined_count(one.sender) > one.nonce:
                raise _dropped(one)
        if signed[-1] is sent[-1]:
            await self.broadcast(signed[-1])

    def _still_pending(self, sent: Sequence[SignedTransaction | str], timeout: float) -> TransactionPending:
        return TransactionPending(
            f"Sent, but not mined within {timeout:.0f} s: {_hash_of(sent[-1])}",
            transaction=_hash_of(sent[-1]),
            cause="The node is slow or the fee is too low. It can still be mined: do not send it a second time.",
            next_step=f"serving transaction show {_hash_of(sent[-1])}",
        )

    async def _why_failed(self, receipt: Receipt) -> ServingError:
        """The reason why a mined transaction failed: it is run again on the state before its block."""
        mined = await self.transaction(receipt.transaction_hash)
        if mined is None:
            return _unexplained(receipt)
        asked = {"from": mined["from"], "to": mined.get("to"), "data": mined["input"], "value": mined["value"]}
        gas = from_quantity(mined["gas"])
        try:
            await self.rpc("eth_call", [asked | {"gas": hex(gas)}, hex(receipt.block_number - 1)])
        except RpcError as refusal:
            reason = explain_refusal(refusal)
            if isinstance(reason, ContractError) and not isinstance(reason, RevertedWithoutReason):
                reason.transaction = receipt.transaction_hash
                return reason
        if receipt.gas_used * 64 >= gas * 63:
            return OutOfGas(
                f"The transaction ran out of gas: it used {receipt.gas_used} of {gas}.",
                transaction=receipt.transaction_hash,
                next_step="Send it again without a gas limit of your own, so that it is estimated.",
            )
        return _unexplained(receipt)


def _wrongly_signed(account: Signer, cause: str) -> TransactionFailure:
    return TransactionFailure(
        f"The key of {account.address} signed something else than the transaction that was asked for.",
        cause=cause,
        next_step="Nothing was sent. Check the device or the program that signs.",
    )


def _hash_of(transaction: SignedTransaction | str) -> str:
    return transaction if isinstance(transaction, str) else transaction.hash


def _unexplained(receipt: Receipt) -> ServingError:
    unexplained = RevertedWithoutReason()
    unexplained.transaction = receipt.transaction_hash
    return unexplained


def _unknown_fate(sent: SignedTransaction | str, failure: NodeFailure) -> TransactionPending:
    """What to raise when the node fails after it was given a transaction: whoever sends anew might pay twice."""
    return TransactionPending(
        f"The node failed before it told what became of {_hash_of(sent)}: {failure}",
        transaction=_hash_of(sent),
        cause=f"It may have been sent, and can still take effect: do not send it a second time. {failure.cause or ''}",
        next_step=f"serving transaction show {_hash_of(sent)}",
    )


def _dropped(signed: SignedTransaction) -> TransactionDropped:
    return TransactionDropped(
        f"The transaction can no longer be mined: another one of {signed.sender} took its nonce {signed.nonce}.",
        transaction=signed.hash,
        cause="The same key sent from somewhere else, or the transaction was replaced.",
        next_step="Look at what was sent, then send it again if it is still wanted.",
    )
