# SPDX-License-Identifier: Apache-2.0
"""Settlements on the wire: encode the calldata, preview it, and read its results."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from serving_network.clients.read.settlement_calls import FEE_BITS, FUNCTIONS, RESULT_EVENTS, Form, settlements_in
from serving_network.contracts.models import Status
from serving_network.counting import count
from serving_network.errors import InvalidInput, NodeFailure
from serving_network.money import describe

if TYPE_CHECKING:
    from serving_network.chain.contract import Call, Contract
    from serving_network.chain.node import Block
    from serving_network.chain.receipts import Receipt
    from serving_network.contracts.codec import DecodedEvent
    from serving_network.messages.typed_data import UserSettlement

ROWS_AT_MOST: Final[dict[Form, int]] = {"entries": 50, "batch": 200}
"""The most settlements in one transaction. The contract accepts 50 entries, and 200 rows stay below its gas limit."""

_STATUSES_PER_WORD: Final = 64


class Disagreement(NodeFailure):
    """The node contradicts itself: a receipt lacks its events or does not match the accounts."""


class Outcome(NamedTuple):
    """What the contract did or would do with one settlement: its status, and the amount paid in wei."""

    status: int
    paid: int


@dataclass(frozen=True, slots=True)
class SignedSettlements:
    """The contents of one transaction: settlements, with one signature each or one for all of them."""

    form: Form
    settlements: tuple[UserSettlement, ...]
    signatures: tuple[bytes, ...]


class SettlementWire:
    """One provider's settlements at the inference contract `contract`."""

    def __init__(self, contract: Contract, provider: str) -> None:
        self._contract = contract
        self._provider = provider

    def arguments(self, signed: SignedSettlements) -> tuple[Any, ...]:
        """The arguments of the function that settles. Raises InvalidInput for a fee that a batch cannot hold."""
        if signed.form == "batch":
            return [_packed(row) for row in signed.settlements], signed.signatures[0]
        return (
            [
                (row.user, self._provider, row.total_fee, row.requests_hash, row.nonce, signature)
                for row, signature in zip(signed.settlements, signed.signatures, strict=True)
            ],
        )

    def calldata(self, signed: SignedSettlements) -> bytes:
        """The calldata that settles."""
        return self._contract.interface.encode(FUNCTIONS[signed.form], *self.arguments(signed))

    def call(self, signed: SignedSettlements) -> Call:
        """The call that settles, ready to be sent."""
        total = describe(sum(row.total_fee for row in signed.settlements))
        one, many = ("entry", "entries") if signed.form == "entries" else ("row", "rows")
        effect = f"settles {count(len(signed.settlements), one, many)} over {total}"
        return self._contract.call(FUNCTIONS[signed.form], *self.arguments(signed), effect=effect)

    async def preview(self, signed: SignedSettlements, balances: dict[str, int], block: Block) -> list[Outcome]:
        """What settling would do as of a block, settlement by settlement. A user may be among them more than once.

        `balances` holds the users' balances with the provider at that block, in wei. A user without an account is
        missing. Raises TransferFailed if the provider's wallet does not accept coins, and Disagreement.
        """
        read = self._contract.read
        answer = await read(FUNCTIONS[signed.form], *self.arguments(signed), sender=self._provider, block=block)
        if signed.form == "batch":
            if len(answer) * _STATUSES_PER_WORD < len(signed.settlements):
                raise Disagreement("The node's preview lacks the status of some settlements.")
            answer = [
                answer[place // _STATUSES_PER_WORD] >> 4 * (place % _STATUSES_PER_WORD) & 15
                for place in range(len(signed.settlements))
            ]
        elif len(answer) != len(signed.settlements):
            raise Disagreement("The node's preview lacks the status of some settlements.")
        left = Counter(balances)
        outcomes = []
        for row, number in zip(signed.settlements, answer, strict=True):
            status = known_status(number)
            paid = min(row.total_fee, left[row.user]) if status.paid else 0
            left[row.user] -= paid
            outcomes.append(Outcome(status, paid))
        return outcomes

    def results(self, receipt: Receipt, signed: SignedSettlements) -> tuple[Outcome, ...]:
        """What a mined transaction did, settlement by settlement. Raises Disagreement."""
        name = RESULT_EVENTS[signed.form]
        events = [event for event in self.events(receipt) if event.name == name]
        if [event.args["user"] for event in events] != [row.user for row in signed.settlements]:
            raise Disagreement(
                f"The receipt of {receipt.transaction_hash} does not contain a result for each settlement.",
                cause=f"It has {len(events)} results for {len(signed.settlements)} settlements, or of other users.",
                next_step="Use another node: whether they were paid is not known until a receipt is complete.",
            )
        return tuple(outcome_of(event, row.total_fee) for event, row in zip(events, signed.settlements, strict=True))

    def events(self, receipt: Receipt) -> list[DecodedEvent]:
        """The contract's events in a receipt."""
        events = [self._contract.interface.decode_log(log) for log in receipt.logs]
        return [event for event in events if event is not None and event.address == self._contract.address]

    def decoded(self, calldata: str) -> list[UserSettlement]:
        """The settlements in a transaction's calldata; empty if it calls another function."""
        return settlements_in(self._contract.interface.decode_call(bytes.fromhex(calldata.removeprefix("0x"))))


def outcome_of(event: DecodedEvent, fee: int) -> Outcome:
    """A settlement's outcome from its event. Raises Disagreement if the amounts are impossible."""
    values = event.args
    paid = values["paid"] if event.name == RESULT_EVENTS["batch"] else fee - values["unsettledAmount"]
    status = known_status(values["status"])
    if not 0 <= paid <= fee or (status == Status.SUCCESS and paid != fee) or (not status.paid and paid):
        raise Disagreement(f"The node reported status {status.name} with {paid} wei paid of {fee}.")
    return Outcome(status, paid)


def known_status(number: int) -> Status:
    """The status with this number. Raises Disagreement if there is none."""
    try:
        return Status(number)
    except ValueError as error:
        raise Disagreement(f"The node reported an unknown settlement status: {number}.") from error


def _packed(row: UserSettlement) -> tuple[int, int, bytes]:
    """A row of a batch as the contract takes it: user in the upper 160 bits of the first word, fee in the lower 96."""
    if row.total_fee >> FEE_BITS:
        raise InvalidInput(
            f"A row of a batch cannot hold a fee of {describe(row.total_fee)}.",
            next_step="Settle it as an entry of its own: serving settlement send",
        )
    return int(row.user, 16) << FEE_BITS | row.total_fee, row.nonce, row.requests_hash
