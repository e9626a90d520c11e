# SPDX-License-Identifier: Apache-2.0
"""What single design decisions save: measured on our own contracts with and without the design, or computed from the
EVM's prices if the alternative was never built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.gas.batches import key
from benchmarks.gas.floor import COLD_READ, WARM_WRITE, log
from benchmarks.gas.network import Network, Step
from benchmarks.gas.operations import Prepare, measure, other_price, other_text, settle_many, transfer_existing
from tests.unit.contract import COIN

TEXT = "t" * 400


# Measured on the live network's contracts: a lock for each user, in storage.
STORAGE_LOCK: Final = 22_400
TRANSIENT_LOCK: Final = 300
NEW_WORD: Final = 22_100
BATCH: Final = 50


def describe_ledger(net: Network) -> Step:
    """The ledger keeps its text in storage words."""
    return Step(net.ledger, "addLedger", (TEXT,), net.account("user"), 50 * COIN)


def plain_ledger(net: Network) -> Step:
    return Step(net.ledger, "addLedger", ("",), net.account("user"), 50 * COIN)


def settle_one(net: Network) -> Step:
    return settle_many(1, 1, net)


def measure_savings(net: Network) -> dict[str, int]:
    """Gas with and without, in pairs."""
    asking = Network(1, neighbours=1, attached=False)
    keeping = Network(1, neighbours=1)

    def difference(dear: Prepare, cheap: Prepare) -> int:
        return measure(net, dear).gas_used - measure(net, cheap).gas_used

    return {
        "settleFeesWithTEE x1 through a front that asks its beacon": measure(asking, settle_one).gas_used,
        "settleFeesWithTEE x1 through a front with a slot of its own": measure(keeping, settle_one).gas_used,
        "transferFund, existing account, through fronts that ask": measure(asking, transfer_existing).gas_used,
        "transferFund, existing account, through fronts with a slot": measure(keeping, transfer_existing).gas_used,
        "400 bytes of text in storage words (addLedger)": difference(describe_ledger, plain_ledger),
        "400 bytes of text as code (addOrUpdateService)": difference(other_text, other_price),
    }


def explained(figures: Mapping[str, Mapping[str, int]]) -> str:
    """The five largest savings, in Markdown, with today's figures."""
    operations, batches, savings = figures["operations"], figures["batches"], figures["savings"]
    word = COLD_READ + WARM_WRITE
    book = word + log(3, 32) + 200
    fifty = operations["settleFeesWithTEE x50, distinct users, steady state"]
    each = batches[key("settleFeesWithTEE", BATCH, "later settlement")]
    one = batches[key("settleBatchWithTEE", BATCH, "later settlement")]
    many = batches[key("settleBatchWithTEE", 200, "later settlement")]
    as_words = savings["400 bytes of text in storage words (addLedger)"]
    as_code = savings["400 bytes of text as code (addOrUpdateService)"]
    asking = savings["settleFeesWithTEE x1 through a front that asks its beacon"]
    keeping = savings["settleFeesWithTEE x1 through a front with a slot of its own"]
    new = operations["transferFund, new account"]
    return f"""\
1. **No ledger write at settlement: {STORAGE_LOCK + book:,} gas a settlement.** On the live network a settlement
   calls the ledger, which locks the user in storage ({STORAGE_LOCK:,}), lowers a stored total ({word:,}) and emits
   `FundSpent` ({log(3, 32):,}), through the ledger's front (200 when warm). Here only the service records what it
   holds, so a settlement calls no other contract. With the same calls and a transient lock, a batch of {BATCH} would
   cost {fifty + BATCH * (book + TRANSIENT_LOCK):,} instead of {fifty:,}, more than the gas limit that brokers send.
2. **Text as code: {as_words - as_code:,} gas for 400 bytes.** They cost {as_words:,} in storage words and
   {as_code:,} as a small contract, and comparing one code hash shows that a text did not change. This is the main
   difference in registrations and deliverables.
3. **Packed lists: {3 * NEW_WORD:,} gas a new account.** An account is in three lists with one new word each. An
   enumerable set stores a value and a position for each, which takes three more new words. This is the main reason
   why a transfer that opens an account costs only {new:,} here.
4. **One word for an account: {2 * word:,} gas a settlement.** Balance, pending refund, nonce and acknowledgement
   are read and written together ({word:,}). Separate words for the pending refund and the nonce would each cost the
   same again, and {NEW_WORD - word:,} more while the nonce's word is still empty. This is why a first settlement costs
   the same as a later one.
5. **One signature for a batch: {each - one:,} gas a user.** {one:,} instead of {each:,} with {BATCH} users, and
   {many:,} with 200: one recovery, the signature's calldata and its decoding once, one event instead of two.

Next are **fronts that store their implementation** in a slot that their beacon rewrites at an upgrade, instead of
asking the beacon: {asking - keeping:,} gas a front, and a transfer passes two. Then **transient locks**:
{TRANSIENT_LOCK} instead of {STORAGE_LOCK:,}.
"""
