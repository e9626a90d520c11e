"""`serving settlement void`"""

from __future__ import annotations

import time
from typing import Annotated

import typer

from serving_network.cli.arguments import INFERENCE_SERVICE
from serving_network.cli.command import records
from serving_network.cli.journal_file import JOURNAL, existing_journal
from serving_network.cli.output import money
from serving_network.cli.prompts import ask_to_go_on
from serving_network.cli.session import Session
from serving_network.errors import InvalidInput
from serving_network.messages.usage import identify_request
from serving_network.money import describe


@records
async def void(
    session: Session,
    request: Annotated[str, typer.Argument(metavar="ID", help="The request's id exactly as in the log, or its hash.")],
    reason: Annotated[str, typer.Option(help="Why the request is not charged. Kept in the journal.")],
    service: INFERENCE_SERVICE = "inference",
    journal: JOURNAL = None,
) -> None:
    """Void a recorded request, so that it is never charged. This cannot be undone.

    The request must be entirely unpaid and not be part of a settlement that may still take effect.

    Example: serving settlement void req-8f2a --reason "The answer was empty" --key provider
    """
    reason = reason.strip()
    if not reason:
        raise InvalidInput("Voiding a request requires a reason.", next_step='Add --reason "..."')
    try:
        request_hash, _ = identify_request(request)
    except ValueError as error:
        raise InvalidInput(
            f"This is not a request id: {error}.", next_step="Give the id exactly as in the log."
        ) from None
    file = await existing_journal(session, service, journal)
    with file.locked(), file.copied() if session.dry_run else file.opened() as opened:
        found = opened.voidable(request_hash)
        what = f"request {request} of {session.name(found.user)}, {describe(found.fee)}"
        if session.dry_run:
            session.out.line(f"Would void {what}. Nothing was written.")
        else:
            if not session.sending.yes:
                session.out.note(f"This voids {what}. It cannot be undone.")
                ask_to_go_on(what="written")
            opened.void(request_hash, reason, int(time.time()))
            session.out.line(f"Voided {what}.")
    session.out.result(
        {
            "dry_run": session.dry_run,
            "request": request_hash,
            "user": found.user,
            "fee": money(found.fee),
            "reason": reason,
        }
    )
