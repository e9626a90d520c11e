# SPDX-License-Identifier: Apache-2.0
"""`serving registry`: list, register and recommend the services that the ledger knows.

If the network has a record, what is sent is written down in it, so that the record stays in sync with the chain.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from serving_network.cli.console.command import reads, writes
from serving_network.cli.console.output import money
from serving_network.cli.console.session import Session
from serving_network.cli.console.times import local_time, moment
from serving_network.cli.files.networks import DEFAULT_FILES, FILES, record_if_any, spec_of
from serving_network.cli.parts.plans import done_as_json, run_plan, show_calls
from serving_network.errors import UnknownName
from serving_network.money import rounded

if TYPE_CHECKING:
    from pathlib import Path

    from serving_network.deployment.plan import Plan
    from serving_network.deployment.record_file import RecordFile

app = typer.Typer(help="List the registered services, register new ones and recommend versions.")


@app.command("list")
@reads
async def list_registered(
    session: Session,
    service_type: Annotated[str | None, typer.Argument(help='Only this type, like "inference".')] = None,
    files: FILES = DEFAULT_FILES,
) -> None:
    """List the registered services with their versions. With a record, also show users, providers and balances.

    Example: serving registry list inference
    """
    from serving_network.deployment.registry import list_services

    file = record_if_any(session, files)
    if file is None:
        await _list_versions(session, service_type)
        return
    found = await list_services(await session.chain(), file.record, service_type)
    session.out.result(
        [
            {
                key: money(value) if key in ("holds", "in_accounts", "stakes") and value is not None else value
                for key, value in asdict(one).items()
            }
            | {"registered_at": moment(one.registered_at)}
            for one in found
        ]
    )
    session.out.table(
        ("service", "recommended", "providers", "accounts", "users", "holds", "of which stakes"),
        [
            (
                one.name,
                "yes" if one.recommended else "no",
                *("not ours" if count is None else str(count) for count in (one.providers, one.accounts, one.users)),
                rounded(one.holds),
                "unknown" if one.stakes is None else rounded(one.stakes),
            )
            for one in found
        ],
        empty="No service is registered.",
    )
    session.out.facts(
        {
            one.name: f"{one.address}, registered {local_time(one.registered_at)}"
            + (f": {one.description}" if one.description else "")
            for one in found
        }
    )


@app.command()
@writes
async def register(
    session: Session,
    service_type: Annotated[str, typer.Argument(help='Such as "inference".')],
    version: Annotated[str, typer.Argument(help='Such as "v1.1".')],
    address: Annotated[str, typer.Argument(help="The front of the service contract.")],
    description: Annotated[str, typer.Option(help="One line about the service.")] = "",
    files: FILES = DEFAULT_FILES,
) -> None:
    """For the ledger's owner: register a service contract. The ledger trusts it with users' coins.

    The contract must be one of this project's services, or report what it spends through spendFund.

    Example: serving registry register inference v1.1 0x0165878A594ca255338adfa4d48449f69242Eb8F
    """
    from serving_network.deployment.registry import plan_registration

    file, front = record_if_any(session, files), session.address(address)
    if file is None:
        await (await session.owner()).register_version(service_type, version, front, description)
        return
    made = await plan_registration(
        await session.chain(),
        file.record,
        session.own_address(),
        service_type=service_type,
        version=version,
        address=front,
        description=description,
    )
    await _run(session, file, made, files, "Register it?")


@app.command()
@writes
async def recommend(
    session: Session,
    service: Annotated[str, typer.Argument(help="The full name of a registered service, like inference-v1.1.")],
    files: FILES = DEFAULT_FILES,
) -> None:
    """For the ledger's owner: make a registered version the recommended one of its type.

    Example: serving registry recommend inference-v1.1
    """
    from serving_network.deployment.registry import plan_recommendation

    file = record_if_any(session, files)
    if file is None:
        owner = await session.owner()
        known = {one.name: one for one in await owner.versions()}
        if service not in known:
            raise UnknownName(
                f"No service called {service} is registered.",
                cause=f"Registered: {', '.join(known) or 'none'}.",
                next_step="serving registry list",
            )
        await owner.recommend(known[service].type, known[service].version)
        return
    made = await plan_recommendation(await session.chain(), file.record, service, session.own_address())
    await _run(session, file, made, files, "Recommend it?")
    _compare_with_spec(session, files, service)


def _compare_with_spec(session: Session, files: Path, service: str) -> None:
    """Note if the network's file recommends another version, which the next deployment would recommend again."""
    path = files / f"{session.network.name}.toml"
    if not path.exists():
        return
    for one in spec_of(session, files).services:
        if one.recommended and one.name != service and service.startswith(f"{one.type}-"):
            session.out.note(
                f"Note: {path} recommends {one.name}, so the next serving deploy apply would recommend it again. Set"
                " recommended = true for the version that you want."
            )


async def _run(session: Session, file: RecordFile, made: Plan, files: Path, question: str) -> None:
    show_calls(session, made)
    done = await run_plan(session, file, made, files, question)
    if done is not None:
        session.out.result(done_as_json(done))


async def _list_versions(session: Session, service_type: str | None) -> None:
    versions = await (await session.reader()).versions(service_type)
    session.out.result([asdict(one) | {"registered_at": moment(one.registered_at)} for one in versions])
    session.out.table(
        ("name", "address", "recommended", "registered", "description"),
        [
            (one.name, one.address, "yes" if one.recommended else "no", local_time(one.registered_at), one.description)
            for one in versions
        ],
        empty="No such service is registered.",
    )
