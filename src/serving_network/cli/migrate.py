# SPDX-License-Identifier: Apache-2.0
"""`serving migrate`: move to the new version of fine-tuning, or from one service version to the next."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from serving_network.cli.console.arguments import parse_data
from serving_network.cli.console.command import reads
from serving_network.cli.console.output import money
from serving_network.cli.console.session import Session
from serving_network.cli.console.times import local_time
from serving_network.cli.files.networks import DEFAULT_FILES, FILES, record_of
from serving_network.cli.parts.checks import report
from serving_network.errors import ConfigurationError, KeyFailure, NodeFailure
from serving_network.files import unreadable
from serving_network.money import rounded
from serving_network.untrusted import parse_json

app = typer.Typer(help="Migrate from the old version, or from one service version to the next.")


class Role(StrEnum):
    """Whose checklist to show."""

    USER = "user"
    PROVIDER = "provider"
    OWNER = "owner"


@app.command()
@reads
async def check(
    session: Session,
    role: Annotated[Role, typer.Argument(help="Your role.")],
    who: Annotated[str | None, typer.Option("--address", help="The address. Default: that of the key in use.")] = None,
    calldata: Annotated[str | None, typer.Option(help="Calldata that your software sends, to examine.")] = None,
    typed_data: Annotated[Path | None, typer.Option(help="Typed data (JSON) that your TEE signs, to examine.")] = None,
    service: Annotated[str, typer.Option("--service", "-s", help="The service.")] = "fine-tuning",
) -> None:
    """List the completed and remaining steps of a migration from the old version. Exits with code 9 if any remain.

    Without an address, a key or a network it still examines --calldata and --typed-data.

    Example: serving migrate check provider
    """
    from serving_network.clients.doctor import Check
    from serving_network.clients.migrate import owner_checklist, provider_checklist, user_checklist
    from serving_network.contracts.old_calls import recognise_call

    examined: list[Check] = []
    if calldata is not None:
        old = recognise_call(parse_data(calldata))
        detail = f"{old.signature}, of the old version" if old else "not one of the old version"
        examined.append(Check("the call", old is None, detail, old.instead if old else None))
    if typed_data is not None:
        instead = _examine(typed_data)
        examined.append(Check("the typed data", instead is None, str(typed_data), instead))
    try:
        if role is Role.OWNER:
            steps = await owner_checklist(await session.reader(), service)
        else:
            address = session.address(who) if who else session.own_address()
            checklist = user_checklist if role is Role.USER else provider_checklist
            steps = await checklist(await session.reader(), address, service)
    except (KeyFailure, NodeFailure) as failure:
        if not examined:
            raise
        session.out.note(f"The steps of the migration were not checked: {failure}", "yellow")
        steps = []
    report(session.out, [*steps, *examined])


@app.command()
@reads
async def plan(
    session: Session,
    left: Annotated[str, typer.Argument(help="The version to leave, like inference-v1.0.")],
    entered: Annotated[str, typer.Argument(help="The version to move to.")],
    files: FILES = DEFAULT_FILES,
) -> None:
    """Show what is left in one version, and what each user and each provider without users has to do to move on.

    Example: serving migrate plan inference-v1.0 inference-v1.1 --network testnet
    """
    from serving_network.deployment.registry import plan_migration

    moves = await plan_migration(await session.chain(), record_of(session, files).record, left, entered)
    session.out.result(
        [
            {
                "user": one.user,
                "provider": one.provider,
                "balance": money(one.balance),
                "asked_back": money(one.pending),
                "unlocks_at": one.unlocks_at,
                "provider_has_moved": one.provider_has_moved,
                "steps": list(one.steps),
            }
            for one in moves
        ]
    )
    for one in moves:
        if one.user is None:
            session.out.line(f"{session.name(one.provider)}, a provider, has no users")
            session.out.line(f"  to do: {', '.join(one.steps)}")
            continue
        unlocks = f"; {rounded(one.pending)} unlock at {local_time(one.unlocks_at)}" if one.unlocks_at else ""
        session.out.line(
            f"{session.name(one.user)} has {rounded(one.balance)} with {session.name(one.provider)}{unlocks}"
        )
        session.out.line(f"  to do: {', '.join(one.steps)}")
    users, providers = {one.user for one in moves if one.user}, {one.provider for one in moves}
    balance = rounded(sum(one.balance for one in moves))
    session.out.line(f"Left in {left}: {balance}. Users: {len(users)}, providers: {len(providers)}.")


def _examine(path: Path) -> str | None:
    from serving_network.contracts.old_calls import recognise_typed_data

    try:
        content = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise unreadable(ConfigurationError, path, error, "JSON") from error
    if not isinstance(content, dict) or not isinstance(content.get("types"), dict):
        raise ConfigurationError(
            f"{path} is not typed data.",
            cause="It has no types.",
            next_step="Pass what the TEE signs, in the JSON of eth_signTypedData_v4.",
        )
    return recognise_typed_data(content)
