# SPDX-License-Identifier: Apache-2.0
"""The reasons why a transaction failed: refused, rejected by the node, dropped, or mined and reverted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from serving_network.chain.node import from_hex, from_quantity
from serving_network.chain.shortage import get_coins
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
from serving_network.money import WEI_PER_COIN, rounded

if TYPE_CHECKING:
    from serving_network.chain.reading import AsyncReader
    from serving_network.chain.receipts import Receipt
    from serving_network.messages.transactions import SignedTransaction

GAS_ALLOWANCE: Final = WEI_PER_COIN // 100
"""What a transaction may cost whose gas no node has estimated yet."""


async def refused_estimate(chain: AsyncReader, refusal: RpcError, requested: dict[str, Any]) -> ServingError:
    """Why a gas estimate failed. Some nodes return the revert data only to eth_call."""
    reason = explain_refusal(refusal)
    if isinstance(reason, ContractError) and not isinstance(reason, RevertedWithoutReason):
        return reason
    if _lacks_funds(refusal):
        has, needs = await chain.balance(requested["from"]), from_quantity(requested["value"])
        return NotEnoughCoins(
            f"{requested['from']} has {rounded(has)} and needs {rounded(needs, at_most=True)} plus gas.",
            address=requested["from"],
            has=has,
            needs=needs,
            next_step=get_coins(chain.chain_id, requested["from"], needs + GAS_ALLOWANCE - has),
        )
    try:
        await chain.rpc("eth_call", [requested, "latest"])
    except RpcError as second:
        reason = explain_refusal(second)
    old = recognise_call(from_hex(requested["data"]))
    return OldStyleCall(old) if old and isinstance(reason, RevertedWithoutReason) else reason


async def rejected(chain: AsyncReader, signed: SignedTransaction, refusal: RpcError) -> ServingError:
    """Why the node did not accept a transaction."""
    if await chain.mined_count(signed.sender) > signed.nonce:
        return dropped(signed)
    if _lacks_funds(refusal):
        has, needs = await chain.balance(signed.sender), signed.value + signed.gas * signed.max_fee_per_gas
        return NotEnoughCoins(
            f"{signed.sender} has {rounded(has)} and needs {rounded(needs, at_most=True)}.",
            address=signed.sender,
            has=has,
            needs=needs,
            next_step=get_coins(chain.chain_id, signed.sender, needs - has),
        )
    reason = explain_refusal(refusal)
    if isinstance(reason, ContractError):
        return reason
    return TransactionFailure(
        f"The node did not accept the transaction: {refusal}.", transaction=signed.hash, next_step="Try again."
    )


async def mined_failure(chain: AsyncReader, receipt: Receipt) -> ServingError:
    """Why a mined transaction failed. It is simulated again on the state before its block."""
    mined = await chain.transaction(receipt.transaction_hash)
    if mined is None:
        return _unexplained(receipt)
    call = {"from": mined["from"], "to": mined.get("to"), "data": mined["input"], "value": mined["value"]}
    gas = from_quantity(mined["gas"])
    try:
        await chain.rpc("eth_call", [call | {"gas": hex(gas)}, hex(receipt.block_number - 1)])
    except RpcError as refusal:
        reason = explain_refusal(refusal)
        if isinstance(reason, ContractError) and not isinstance(reason, RevertedWithoutReason):
            reason.transaction = receipt.transaction_hash
            return reason
    if receipt.gas_used * 64 >= gas * 63:
        return OutOfGas(
            f"The transaction ran out of gas: it used {receipt.gas_used} of {gas}.",
            transaction=receipt.transaction_hash,
            next_step="Send it again without a gas limit, so that the limit is estimated.",
        )
    return _unexplained(receipt)


def dropped(signed: SignedTransaction) -> TransactionDropped:
    """The error for a transaction whose nonce another one has used."""
    return TransactionDropped(
        f"The transaction can no longer be mined: another one of {signed.sender} used its nonce {signed.nonce}.",
        transaction=signed.hash,
        cause="The same key sent from another program or machine, or the transaction was replaced.",
        next_step="Check what was sent. If the transaction is still needed, send it again.",
    )


def still_pending(transaction_hash: str, timeout: float) -> TransactionPending:
    """The error for a transaction that was not mined within `timeout` seconds."""
    return TransactionPending(
        f"The transaction was sent, but not mined within {timeout:.0f} s: {transaction_hash}",
        transaction=transaction_hash,
        cause="The node is slow, or the fee is too low. It can still be mined: do not send it a second time.",
        next_step=f"serving transaction show {transaction_hash}",
    )


def unknown_fate(transaction_hash: str, failure: NodeFailure) -> TransactionPending:
    """The error for a node that failed after it received a transaction: sending it again could pay twice."""
    return TransactionPending(
        f"The node failed before it reported the result of {transaction_hash}: {failure}",
        transaction=transaction_hash,
        cause=f"It may have been sent, and can still take effect: do not send it a second time. {failure.cause or ''}",
        next_step=f"serving transaction show {transaction_hash}",
    )


def _lacks_funds(refusal: RpcError) -> bool:
    return "insufficient funds" in str(refusal).lower()


def _unexplained(receipt: Receipt) -> ServingError:
    unexplained = RevertedWithoutReason()
    unexplained.transaction = receipt.transaction_hash
    return unexplained
