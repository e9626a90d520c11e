"""`serving migrate check`"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from serving_network.cli.arguments import parse_data
from serving_network.cli.checks import report
from serving_network.cli.command import reads
from serving_network.cli.session import Session
from serving_network.clients.doctor import Check
from serving_network.clients.migrate import owner_checklist, provider_checklist, user_checklist
from serving_network.contracts.old_calls import recognise_call, recognise_typed_data
from serving_network.errors import ConfigurationError
from serving_network.untrusted import parse_json


class Role(StrEnum):
    """Whose checklist."""

    USER = "user"
    PROVIDER = "provider"
    OWNER = "owner"


@reads
async def check(
    session: Session,
    role: Annotated[Role, typer.Argument(help="Who you are.")],
    who: Annotated[str | None, typer.Option("--address", help="Whose state; the key in use by default.")] = None,
    calldata: Annotated[str | None, typer.Option(help="A call that your software makes, to see if it is old.")] = None,
    typed_data: Annotated[Path | None, typer.Option(help="Typed data (JSON) that your TEE signs.")] = None,
    service: Annotated[str, typer.Option("--service", "-s", help="The service.")] = "fine-tuning",
) -> None:
    """Coming from the old version: what is done, and what is still to do. Ends with exit code 9 if something is.

    Example: serving migrate check provider
    """
    network = await session.reader()
    if role is Role.OWNER:
        checks = await owner_checklist(network, service)
    else:
        address = session.address(who) if who else session.own_address()
        checklist = user_checklist if role is Role.USER else provider_checklist
        checks = await checklist(network, address, service)
    if calldata is not None:
        old = recognise_call(parse_data(calldata))
        detail = f"{old.signature}, of the old version" if old else "not one of the old version"
        checks.append(Check("the call", old is None, detail, old.instead if old else None))
    if typed_data is not None:
        instead = _examine(typed_data)
        checks.append(Check("the typed data", instead is None, str(typed_data), instead))
    report(session.out, checks)


def _examine(path: Path) -> str | None:
    try:
        told = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read.", cause=str(error), next_step=f"Mend {path}") from error
    return recognise_typed_data(told) if isinstance(told, dict) else None
