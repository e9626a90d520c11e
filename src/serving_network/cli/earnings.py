# SPDX-License-Identifier: Apache-2.0
"""`serving earnings`: what a provider was paid."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from serving_network.cli.console.arguments import INFERENCE_SERVICE, USER_OR_SELF
from serving_network.cli.console.command import reads
from serving_network.cli.console.output import money
from serving_network.cli.console.session import Session
from serving_network.money import rounded


@reads
async def earnings(
    session: Session,
    provider: USER_OR_SELF = None,
    from_block: Annotated[int, typer.Option(min=0, help="The first block.")] = 0,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """List the payments to a provider, by user and transaction, and their total.

    Example: serving earnings --service fine-tuning
    """
    from serving_network.clients.read.earnings import earnings_of

    whose = session.address_or_own(provider)
    found = await earnings_of(await session.reader(), whose, service, from_block=from_block)
    total = sum(one.paid for one in found)
    session.out.result({"total": money(total), "payments": [asdict(one) | {"paid": money(one.paid)} for one in found]})
    session.out.table(
        ("block", "user", "paid", "how", "transaction"),
        [
            (str(one.block_number), session.name(one.user), rounded(one.paid), one.reason, one.transaction_hash)
            for one in found
        ],
        empty="There are no payments yet.",
    )
    if found:
        session.out.line(f"Total {rounded(total)}")
