# SPDX-License-Identifier: Apache-2.0
"""Take in receipts that users have and a restored store lacks, so that the next ones continue their sequence.

A receipt that a user can show is a debt, whatever became of the store. Without it, the next request would get the same
sequence, and the user would have two receipts for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from serving_network.errors import InvalidInput
from serving_network.messages.answer_signatures import answer_text
from serving_network.messages.receipts import InvalidReceipt, SignedReceipt
from serving_network.messages.tee_signing import AttestedSigner
from serving_network.store.billing import ServedRow, abandon, billed_so_far, insert_served
from serving_network.store.database import Database
from serving_network.store.intake import gateway_lock
from serving_network.store.location import Location, PostgresStore
from serving_network.store.opening import Identity, connected
from serving_network.store.sessions import check_no_gateway


class TakenIn(NamedTuple):
    """How many receipts were new to the store, of how many users, and what they add to what is billed, in wei."""

    receipts: int
    users: int
    wei: int


def take_in(path: Location, identity: Identity, signer: AttestedSigner, receipts: Iterable[SignedReceipt]) -> TakenIn:
    """Store receipts that follow those in the store, all or none. Run it while no gateway uses the store.

    `signer` signs the answers again. Raises InvalidReceipt for a receipt of another service, of an unknown signer, or
    without its disclosure; InvalidInput for a gap or a contradiction; RunInProgress and JournalFailure.
    """
    ordered = sorted(receipts, key=lambda one: (one.receipt.user, one.receipt.sequence))
    with (
        gateway_lock(path, "A gateway uses this store."),
        connected(path, identity) as db,
    ):
        signers = [signer.address, *(one for (one,) in db.execute("SELECT DISTINCT signer FROM served").fetchall())]
        db.begin()
        try:
            if isinstance(path, PostgresStore):
                check_no_gateway(db, "A gateway uses this store.")
            new = [one for one in ordered if _take_in(db, identity, signer, signers, one)]
        except BaseException:
            db.rollback()
            raise
        db.commit()
    return TakenIn(len(new), len({one.receipt.user for one in new}), sum(one.receipt.fee for one in new))


def _take_in(
    db: Database, identity: Identity, signer: AttestedSigner, signers: Sequence[str], one: SignedReceipt
) -> bool:
    """Store a receipt, unless it is stored already."""
    receipt, disclosure = one.receipt, one.disclosure
    name = f"receipt {receipt.sequence} of {receipt.user}"
    if (one.chain_id, one.contract, receipt.provider) != (identity.chain_id, identity.contract, identity.provider):
        raise InvalidReceipt(f"The {name} belongs to another service.")
    if disclosure is None:
        raise InvalidReceipt(f"The {name} is redacted.", next_step="Ask the user to export it without --redact.")
    _check_signed(one, signers)
    stored = db.execute(
        "SELECT id FROM served WHERE address = ? AND sequence = ?", (receipt.user, receipt.sequence)
    ).fetchone()
    if stored is not None:
        if stored[0] != receipt.id:
            raise InvalidInput(
                f"The store has another {name}.",
                cause="The gateway served requests after the store was restored.",
                next_step="Settle with the user by hand: two requests have the same sequence.",
            )
        return False
    db.lock_accounts([receipt.user])
    requests, billed = billed_so_far(db, [receipt.user]).get(receipt.user, (0, 0))
    if (receipt.sequence, receipt.billed_before) != (requests + 1, billed):
        raise InvalidInput(
            f"The {name} does not follow the store's last one, which is {requests}.",
            next_step=f"Add the user's receipts from {requests + 1} on.",
        )
    answer = signer.sign_answer(answer_text(disclosure.request_hash, [disclosure.answer_hash]))
    insert_served(db, [ServedRow(one, disclosure, signer.address, answer)])
    abandon(db, [one.receipt.id])
    return True


def _check_signed(one: SignedReceipt, signers: Sequence[str]) -> None:
    """Check that one of the service's signers signed a receipt. Raises InvalidReceipt."""
    for signer in signers[:-1]:
        with suppress(InvalidReceipt):
            one.check(signer)
            return
    one.check(signers[-1])
