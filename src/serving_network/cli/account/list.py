"""`serving account list`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.account.show import account_as_json
from serving_network.cli.arguments import INFERENCE_SERVICE
from serving_network.cli.context import Session, reads
from serving_network.money import describe


@reads
async def list_accounts(
    session: Session,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only those with this provider.")] = None,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """List the accounts of a service: all of them, a user's, or those with a provider.

    Example: serving account list --provider good-provider
    """
    network = await session.reader()
    accounts = await network.accounts(
        user=session.address(user) if user else None,
        provider=session.address(provider) if provider else None,
        service=service,
    )
    session.out.result([account_as_json(one) for one in accounts])
    session.out.table(
        ("user", "provider", "balance", "asked back", "acknowledged"),
        [
            (
                session.name(one.user),
                session.name(one.provider),
                describe(one.balance),
                describe(one.pending_refund),
                "yes" if one.acknowledged else "no",
            )
            for one in accounts
        ],
        empty="There are no such accounts.",
    )
