# SPDX-License-Identifier: Apache-2.0
"""Sign a transaction, and check that the signer signed exactly what was requested."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from serving_network.addresses import to_checksum_address
from serving_network.errors import TransactionFailure
from serving_network.messages.transactions import SignedTransaction

if TYPE_CHECKING:
    from serving_network.chain.fees import Fees
    from serving_network.signing import Signer


async def sign_transaction(
    account: Signer, chain_id: int, to: str | None, data: bytes, *, value: int, gas: int, nonce: int, fees: Fees
) -> SignedTransaction:
    """Sign a transaction of `account`. `to` None creates a contract; `value` is in wei.

    Raises TransactionFailure if the signer signed another transaction.
    """
    target = to_checksum_address(to) if to is not None else None
    fields: dict[str, Any] = {
        "chainId": chain_id,
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
        "chain_id": chain_id,
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
        raise _signed_otherwise(account, str(error)) from error
    if wrong := signed.differences(expected):
        raise _signed_otherwise(account, f"It differs in: {', '.join(wrong)}.")
    return signed


def _signed_otherwise(account: Signer, cause: str) -> TransactionFailure:
    return TransactionFailure(
        f"The key of {account.address} signed another transaction than the requested one.",
        cause=cause,
        next_step="Nothing was sent. Check the device or the program that signs.",
    )
