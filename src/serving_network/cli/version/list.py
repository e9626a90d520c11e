"""`serving version list`"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from serving_network.cli.command import reads
from serving_network.cli.session import Session
from serving_network.cli.times import moment


@reads
async def list_versions(
    session: Session, service_type: Annotated[str | None, typer.Argument(help="Only this type.")] = None
) -> None:
    """List the services that the ledger knows, with their versions.

    Example: serving version list inference
    """
    versions = await (await session.reader()).versions(service_type)
    session.out.result([asdict(one) | {"registered_at": moment(one.registered_at)} for one in versions])
    session.out.table(
        ("name", "address", "recommended", "registered", "description"),
        [
            (one.name, one.address, "yes" if one.recommended else "no", moment(one.registered_at), one.description)
            for one in versions
        ],
        empty="The ledger knows no such service.",
    )
