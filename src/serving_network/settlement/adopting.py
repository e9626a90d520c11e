"""Taking over settlements that the chain accepted and the journal does not know of.

They come from another journal of the provider, from an older copy that was restored, or from another program. A
settlement is recognised by its requests hash: if the user's recorded requests, from the first unpaid one on, give the
hash and the fee that were settled, those requests were paid. What is not recognised needs a person's decision.

Every settlement is booked in a transaction of its own, in the order of the nonces. After a crash, run it again: what
was booked is known then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from serving_network.clients.models import Account, Status
from serving_network.errors import InvalidInput, RpcError
from serving_network.money import describe
from serving_network.settlement.chain import Head, PastSettlement, SettlementChain
from serving_network.settlement.following import REORG_WINDOW
from serving_network.settlement.journal import Acceptance, Journal, Outcome, UserState
from serving_network.settlement.pricing import count_covered
from serving_network.settlement.typed_data import UserSettlement

ACCOUNTS_AT_ONCE: Final = 500
UNKNOWN_HASH: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class PaidBefore:
    """The decision that unrecognised settlements paid for none of the recorded requests: only the nonce is taken."""


@dataclass(frozen=True, slots=True)
class Covers:
    """The decision that the oldest unrecognised settlement of a user paid this many wei of what is recorded."""

    wei: int


Decision = PaidBefore | Covers


class How(Enum):
    """What became of a settlement. The value is the reason, for people."""

    MATCHED = "It paid for recorded requests: their hash is the same."
    SENT_HERE = "It is in this journal: its acceptance was booked."
    PAID_BEFORE = "It paid for none of the recorded requests: its nonce was taken."
    COVERS = "It paid for recorded requests, by your decision."
    UNDECIDED = "It does not match the recorded requests: decide with --paid-before or --covers."
    NO_EVENTS = (
        "The node has no events of it, so nothing can be compared: ask another node, or decide with --paid-before or"
        " --covers."
    )
    SIGNED_HERE = (
        "The node has no events of it, and an open batch has a settlement with this nonce: run serving settle, which"
        " books it."
    )
    BEHIND = "The node shows an older state of the account than the journal: ask a node that is in sync."

    @property
    def booked(self) -> bool:
        """Whether it is in the journal now."""
        return self in (How.MATCHED, How.SENT_HERE, How.PAID_BEFORE, How.COVERS)


@dataclass(frozen=True, slots=True)
class Adopted:
    """One settlement, and what became of it. Amounts in wei.

    `fee` is what was signed and `paid` what the chain paid, None where the node cannot say. `covered` is what was
    booked as paid of the recorded requests, and `requests` how many of them are known to be covered. `transaction` is
    empty where it is not known.
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
    """A settlement that the journal does not know. `settlement` is None where only the account or events show it."""

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
    """Book the settlements of these users that the chain accepted and the journal does not know of.

    Events are read from about the block of a user's newest known acceptance on, and from `from_block` for a user
    without one. A settlement below a known one is found if it came after what runs have searched. Returns what became
    of each settlement, in the order of the users and their nonces; a user about whom journal and chain agree is left
    out. Without a decision, unrecognised settlements and those after them are only listed. Raises InvalidInput if
    `Covers` does not fit, before anything of that user is written.
    """
    if isinstance(decision, Covers) and len(users) != 1:
        raise InvalidInput(
            "What a settlement covers is decided for one user at a time.", next_step="Name one user with --covers."
        )
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
    """What the node still tells of these users' settlements; nothing where it refuses to."""
    if not users:
        return []
    try:
        return await chain.past_settlements([user.address for user in users], from_block)
    except RpcError:
        return []


def _first_block(journal: Journal, user: UserState, from_block: int) -> int:
    """From which block on there may be settlements of a user that the journal does not know."""
    newest, searched = journal.last_acceptance(user), journal.searched_block()
    if newest is None or searched is None:
        return from_block
    return max(from_block, min(newest[0] - REORG_WINDOW, searched + 1))


def _unknown(
    journal: Journal, user: UserState, account_nonce: int, past: Sequence[PastSettlement], head: Head
) -> list[_Unknown]:
    """The settlements of a user that the journal does not know, in the order of the chain.

    Those that came through a contract do not show their nonces: each gets the highest that it can have. What the
    account shows and no event does comes last.
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
    """Whether a settlement is booked, or older than all that a run looks for."""
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
    """Book a settlement that this journal signed, or whose hash its requests give; None for any other."""
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
            next_step="Give --covers what the settlement paid of the recorded requests.",
        )
    if one.paid is not None and wei > one.paid:
        raise InvalidInput(
            f"The settlement of {user.address} paid only {describe(one.paid)}, not {describe(wei)}.",
            cause="Settlements that are not recognised are decided one by one, the oldest first.",
            next_step="Give --covers what this settlement paid of the recorded requests.",
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
