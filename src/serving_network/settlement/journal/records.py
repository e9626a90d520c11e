# SPDX-License-Identifier: Apache-2.0
"""What the journal stores and returns. Amounts are in wei."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from serving_network.clients.settlements import Outcome
from serving_network.messages.typed_data import UserSettlement
from serving_network.messages.usage import Reject


@dataclass(slots=True)
class UserState:
    """One user's balance with the provider. Amounts are in wei.

    `open` is what is recorded, neither void nor paid. An overpayment counts towards later requests. `billed` includes
    void requests. `last_nonce` is the highest nonce ever signed or adopted for the user.
    """

    id: int
    address: str
    requests: int
    input_tokens: int
    output_tokens: int
    owed: int
    billed: int
    paid: int
    open_from: int
    last_nonce: int

    @property
    def open(self) -> int:
        return max(0, self.owed - self.paid)


class OpenWork(NamedTuple):
    """One user's open requests: their number and tokens."""

    requests: int
    input_tokens: int
    output_tokens: int


class Recorded(NamedTuple):
    """The result of recording rows: how many are new, how many are known from an earlier reading, and the rejects."""

    new: int
    known: int
    rejects: list[Reject]


class Transaction(NamedTuple):
    """A signed transaction that may have been broadcast. `nonce` is the wallet's; fees are in wei per gas.

    `purpose` is "carry" if it carries settlements, and "cancel" if it is empty and only uses up a nonce.
    """

    hash: str
    raw: bytes
    nonce: int
    gas: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    legacy: bool = False
    purpose: str = "carry"


class SignedRow(NamedTuple):
    """One user's settlement, ready to be sent. `signature` is empty if the batch is signed as a whole.

    `paid_before` is the paid part of the user's queue that precedes it, in wei. `accepted` is whether its acceptance
    is booked.
    """

    user: UserState
    settlement: UserSettlement
    signature: bytes
    requests: int
    expected_paid: int
    paid_before: int = 0
    accepted: bool = False


class Mined(NamedTuple):
    """The block in which a transaction was mined, its gas, and the cost of the gas in wei."""

    block_number: int
    block_hash: str
    gas_used: int
    gas_cost: int


class Acceptance(NamedTuple):
    """The acceptance of a settlement: its outcome (SUCCESS or PARTIAL), block and transaction."""

    outcome: Outcome
    block_number: int
    block_hash: str
    transaction: str


class LiveSettlement(NamedTuple):
    """A settlement that may still be accepted, or whose acceptance may still be undone.

    It covers `fee` wei of the user's queue, starting at `paid_before`. `accepted` is whether its acceptance is booked,
    `in_full` whether it was paid in full.
    """

    nonce: int
    fee: int
    paid_before: int
    accepted: bool
    in_full: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """Settlements sent together. `transactions` are all that were made for them, newest last."""

    id: int
    form: str
    signer: str
    signature: bytes
    from_block: int
    rows: tuple[SignedRow, ...]
    transactions: tuple[Transaction, ...]

    @property
    def cancelled(self) -> bool:
        """Whether an empty transaction was made to cancel it, so that it is not sent again."""
        return any(sent.purpose == "cancel" for sent in self.transactions)


class Request(NamedTuple):
    """A recorded request: its user, its number in the user's queue, the wei that precede it, and its fee in wei."""

    user: str
    number: int
    start: int
    fee: int


class BatchSummary(NamedTuple):
    """A batch for a listing. Amounts are in wei; `mined` maps transactions that were mined to their blocks.

    The batch's form is 'adopted' if another program or journal sent it. `ended` is whether none of its transactions can
    take effect any more.
    """

    batch: Batch
    ended: bool
    states: tuple[str, ...]
    statuses: tuple[int | None, ...]
    paid: tuple[int | None, ...]
    accepted_in: tuple[str | None, ...]
    blocks: tuple[int | None, ...]
    mined: Mapping[str, int]


class Void(NamedTuple):
    """A voided request: its user, its number in the user's queue, its hash, its fee in wei, the time and the reason."""

    user: str
    number: int
    request_hash: bytes
    fee: int
    time: int
    reason: str
