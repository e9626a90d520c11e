# SPDX-License-Identifier: Apache-2.0
"""Adopt settlements that the chain accepted and that are not in the journal.

They come from another journal of the provider, from before an older copy was restored, or from another program. A
settlement is recognised by its requests hash: if the user's recorded requests, starting with the first unpaid one,
produce the settled hash and fee, those requests were paid. An unrecognised settlement needs a person's decision.

Settlements are booked one by one, each in its own database transaction, sorted by nonce. After a crash, run it again:
settlements that are already booked are skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from serving_network.clients.settlements import Outcome
from serving_network.contracts.models import Account, Status
from serving_network.errors import InvalidInput, RpcError
from serving_network.messages.prices import count_covered
from serving_network.messages.typed_data import UserSettlement
from serving_network.money import describe
from serving_network.settlement.chain import Head, PastSettlement, SettlementChain
from serving_network.settlement.following import REORG_WINDOW
from serving_network.settlement.journal import Journal
from serving_network.settlement.journal.records import Acceptance, UserState

ACCOUNTS_AT_ONCE: Final = 500
UNKNOWN_HASH: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class PaidBefore:
    """The decision that unrecognised settlements paid for no recorded request: only their nonces are adopted."""


@dataclass(frozen=True, slots=True)
class Covers:
    """The decision that the user's oldest unrecognised settlement paid this many wei of the recorded requests."""

    wei: int


Decision = PaidBefore | Covers


class How(Enum):
    """The result for a settlement. The value explains it to people."""

    MATCHED = "Paid for recorded requests: the requests hash matches."
    SENT_HERE = "Signed by this journal: its acceptance is booked."
    PAID_BEFORE = "Paid for no recorded request, by your decision: only its nonce is adopted."
    COVERS = "Paid for recorded requests, by your decision."
    UNDECIDED = (
        "Does not match the recorded requests: first run serving settle with every log that it may have paid for, then"
        " decide with --paid-before or --covers."
    )
    NO_EVENTS = (
        "Cannot be compared, because the node has no events for it: use another node, or decide with --paid-before or"
        " --covers."
    )
    SIGNED_HERE = (
        "The node has no events of it, and an open batch has a settlement with this nonce: run serving settle, which"
        " books it."
    )
    BEHIND = "The node shows an older state of the account than the journal: ask a node that is in sync."

    @property
    def booked(self) -> bool:
        """Whether the settlement is now in the journal."""
        return self in (How.MATCHED, How.SENT_HERE, How.PAID_BEFORE, How.COVERS)


@dataclass(frozen=True, slots=True)
class Adopted:
    """One settlement and its result. Amounts are in wei.

    `fee` is the signed fee and `paid` the payment on chain; None if the node cannot provide them. `covered` is the
    amount booked as paid for recorded requests, and `requests` the number of requests known to be covered.
    `transaction` is empty if it is not known.
    """

    user: str
    nonce: int
    how: How
    fee: int | None = None
    paid: int | None = None
    covered: int = 0
    requests: int = 0
    block_number: int | None = None
    transaction: str = ""


@dataclass(frozen=True, slots=True)
class _Unknown:
    """A settlement that is not in the journal. `settlement` is None if only the account or events show it."""

    nonce: int
    settlement: UserSettlement | None
    paid: int | None
    acceptance: Acceptance


async def adopt(
    chain: SettlementChain,
    journal: Journal,
    users: Sequence[UserState],
    decision: Decision | None,
    from_block: int,
) -> list[Adopted]:
    """Book these users' settlements that the chain accepted and that are not in the journal.

    Events are read from shortly before a user's newest known acceptance, or from `from_block` if there is none. A
    settlement with a lower nonce than a known one is found only in blocks that no run has searched yet. Returns the
    result for each settlement, sorted by user and nonce; users on whom journal and chain agree are omitted. Without a
    decision, unrecognised settlements and those after them are only listed. Raises InvalidInput if `Covers` does not
    fit, before anything is written for that user.
    """
    if isinstance(decision, Covers) and len(users) != 1:
        raise InvalidInput("--covers applies to one user at a time.", next_step="Name one user with --covers.")
    accounts: dict[str, Account] = {}
    for start in range(0, len(users), ACCOUNTS_AT_ONCE):
        accounts |= await chain.accounts([user.address for user in users[start : start + ACCOUNTS_AT_ONCE]])
    head = await chain.head()
    nonces = {user.address: accounts[user.address].nonce for user in users if user.address in accounts}
    present = [user for user in users if nonces.get(user.address, 0) >= max(1, journal.accepted_nonce(user))]
    newer = [user for user in present if nonces[user.address] > journal.accepted_nonce(user)]
    same = [user for user in present if nonces[user.address] == journal.accepted_nonce(user)]
    past = [
        *await _past(chain, newer, min((_first_block(journal, user, from_block) for user in newer), default=0)),
        *await _past(chain, same, from_block if (block := journal.searched_block()) is None else block + 1),
    ]
    result = []
    for user in users:
        nonce = nonces.get(user.address)
        if nonce is None:
            continue
        if nonce < journal.accepted_nonce(user):
            result.append(Adopted(user.address, nonce, How.BEHIND))
        else:
            result += _adopt_user(journal, user, _unknown(journal, user, nonce, past, head), decision)
    return result


async def _past(chain: SettlementChain, users: Sequence[UserState], from_block: int) -> Sequence[PastSettlement]:
    """The past settlements of these users that the node still has events for; empty if it refuses the request."""
    if not users:
        return []
    try:
        return await chain.past_settlements([user.address for user in users], from_block)
    except RpcError:
        return []


def _first_block(journal: Journal, user: UserState, from_block: int) -> int:
    """The first block that may contain settlements of a user that are not in the journal."""
    newest, searched = journal.last_acceptance(user), journal.searched_block()
    if newest is None or searched is None:
        return from_block
    return max(from_block, min(newest[0] - REORG_WINDOW, searched + 1))


def _unknown(
    journal: Journal, user: UserState, account_nonce: int, past: Sequence[PastSettlement], head: Head
) -> list[_Unknown]:
    """A user's settlements that are not in the journal, in chain order.

    Settlements made through a contract do not reveal their nonces: each is assigned the highest one possible. A
    settlement that shows only in the account comes last.
    """
    found: list[_Unknown] = []
    highest = account_nonce
    for one in reversed([one for one in past if one.user == user.address]):
        settlement, paid = one.settlement, one.acceptance.outcome.paid
        if settlement is not None:
            highest = settlement.nonce
        if not _known(journal, user, one):
            same = found[-1] if found else None
            if settlement is None and same is not None and _same_call(same, one):
                found[-1] = replace(same, paid=(same.paid or 0) + paid)
                continue
            while settlement is None and journal.accepted(user, highest):
                highest -= 1
            found.append(_Unknown(highest, settlement, paid, one.acceptance))
            highest -= 1
        elif settlement is not None:
            highest -= 1
    found.reverse()
    newest = max([journal.accepted_nonce(user), *(one.nonce for one in found)])
    if newest < account_nonce:
        seen = Acceptance(Outcome(Status.SUCCESS, 0), head.number, head.hash, "")
        found.append(_Unknown(account_nonce, None, None, seen))
    return found


def _same_call(unknown: _Unknown, one: PastSettlement) -> bool:
    return unknown.settlement is None and unknown.acceptance.transaction == one.acceptance.transaction


def _known(journal: Journal, user: UserState, one: PastSettlement) -> bool:
    """Whether a settlement is booked, or older than anything that a run searches for."""
    block, transaction = one.acceptance.block_number, one.acceptance.transaction
    if journal.accepted_by(user, transaction):
        return True
    newest, searched = journal.last_acceptance(user), journal.searched_block()
    if one.settlement is None:
        older = newest is not None and block <= newest[0]
    elif journal.accepted(user, one.settlement.nonce):
        return True
    else:
        older = one.settlement.nonce < journal.accepted_nonce(user)
    return older and (searched is None or block <= searched)


def _adopt_user(
    journal: Journal, user: UserState, unknown: Sequence[_Unknown], decision: Decision | None
) -> list[Adopted]:
    result: list[Adopted] = []
    for one in unknown:
        done = None
        if all(earlier.how.booked for earlier in result):
            done = _recognise(journal, user, one)
            if done is None and one.paid is None and journal.awaits(user, one.nonce):
                done = _listed(user, one, How.SIGNED_HERE)
            if done is None and decision is not None:
                done = _decide(journal, user, one, decision)
                if isinstance(decision, Covers):
                    decision = None
        result.append(done or _listed(user, one, How.NO_EVENTS if one.paid is None else How.UNDECIDED))
    return result


def _recognise(journal: Journal, user: UserState, one: _Unknown) -> Adopted | None:
    """Book a settlement that this journal signed or whose requests hash matches; None for any other."""
    if one.settlement is None:
        return None
    paid = one.acceptance.outcome.paid
    own = journal.signed_as(user, one.settlement, one.acceptance.transaction)
    if own is not None:
        batch, position = own
        journal.accept(batch, {position: one.acceptance})
        return _listed(user, one, How.SENT_HERE, paid, batch.rows[position].requests)
    fee = one.settlement.total_fee
    requests = count_covered(journal.charges(user, fee), fee, one.settlement.requests_hash)
    if requests is None:
        return None
    journal.adopt(user, one.settlement, requests, one.acceptance)
    return _listed(user, one, How.MATCHED, paid, requests)


def _decide(journal: Journal, user: UserState, one: _Unknown, decision: Decision) -> Adopted:
    wei = decision.wei if isinstance(decision, Covers) else 0
    if wei > user.open:
        raise InvalidInput(
            f"{user.address} has only {describe(user.open)} open, not {describe(wei)}.",
            next_step="Set --covers to what the settlement paid for recorded requests.",
        )
    if one.paid is not None and wei > one.paid:
        raise InvalidInput(
            f"The settlement of {user.address} paid only {describe(one.paid)}, not {describe(wei)}.",
            cause="Unrecognised settlements are decided one by one, oldest first.",
            next_step="Set --covers to what this settlement paid for recorded requests.",
        )
    requests_hash = UNKNOWN_HASH if one.settlement is None else one.settlement.requests_hash
    journal.adopt(
        user,
        UserSettlement(user.address, wei, one.nonce, requests_hash),
        0,
        one.acceptance._replace(outcome=Outcome(Status.SUCCESS, wei)),
    )
    return _listed(user, one, How.COVERS if isinstance(decision, Covers) else How.PAID_BEFORE, wei)


def _listed(user: UserState, one: _Unknown, how: How, covered: int = 0, requests: int = 0) -> Adopted:
    return Adopted(
        user.address,
        one.nonce,
        how,
        None if one.settlement is None else one.settlement.total_fee,
        one.paid,
        covered,
        requests,
        None if one.paid is None else one.acceptance.block_number,
        one.acceptance.transaction,
    )
