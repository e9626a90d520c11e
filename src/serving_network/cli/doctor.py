# SPDX-License-Identifier: Apache-2.0
"""`serving doctor`: what stands in the way of a payment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving_network.cli.arguments import INFERENCE_SERVICE
from serving_network.cli.checks import report
from serving_network.cli.command import reads
from serving_network.cli.complete import complete_address
from serving_network.cli.session import Session
from serving_network.cli.settlement_file import read_settlements, read_task
from serving_network.errors import KeyFailure, NodeFailure, ServingError

if TYPE_CHECKING:
    from serving_network.clients.doctor import Check
    from serving_network.clients.read.network import AsyncNetwork


@reads
async def doctor(
    session: Session,
    provider: Annotated[
        str | None, typer.Option("--provider", "-p", help="The provider to be paid.", autocompletion=complete_address)
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            "--user", "-u", help="The user who pays. Default: the key in use.", autocompletion=complete_address
        ),
    ] = None,
    settlement: Annotated[
        Path | None, typer.Option(help="A signed settlement (JSON): check its nonce, fee and signature, too.")
    ] = None,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Check everything that a payment from a user to a provider needs, and name the next step.

    Without --provider it checks the network, key, wallet and ledger. Exits with code 9 if a check fails.

    Example: serving doctor --provider good-provider
    """
    from serving_network.clients.doctor import examine_user, first_failure

    checks = await _machine(session)
    if first_failure(checks) is None:
        network = await session.reader()
        whose = session.address(user) if user else _own_address(session, checks)
        if whose is not None and provider is None:
            checks += await examine_user(network, whose)
        if whose is not None and provider is not None:
            checks += await _pair(network, whose, session.address(provider), service, settlement)
    report(session.out, checks)


async def _machine(session: Session) -> list[Check]:
    """Node, chain and ledger."""
    from serving_network.clients.doctor import Check

    try:
        chain = await session.chain()
        head = await chain.block_number()
    except NodeFailure as failure:
        return [Check("node answers", False, f"{failure} {failure.cause or ''}".strip(), failure.next_step)]
    checks = [Check("node answers", True, f"{chain.where}, chain {chain.chain_id}, block {head}")]
    try:
        ledger = session.network.require_ledger()
        answers = await (await session.reader()).answers()
    except ServingError as failure:
        return [*checks, Check("ledger answers", False, str(failure), failure.next_step)]
    add = f"serving network add {session.network.name} --ledger ADDRESS"
    return [*checks, Check("ledger answers", answers, ledger, add)]


def _own_address(session: Session, checks: list[Check]) -> str | None:
    from serving_network.clients.doctor import Check

    try:
        address = session.own_address()
    except KeyFailure as failure:
        checks.append(Check("key", False, str(failure), failure.next_step))
        return None
    checks.append(Check("key", True, session.name(address)))
    return address


async def _pair(network: AsyncNetwork, user: str, provider: str, service: str, settlement: Path | None) -> list[Check]:
    from serving_network.clients.doctor import examine_fine_tuning, examine_inference
    from serving_network.contracts.models import FINE_TUNING

    found = await network.service(service)
    if found.kind == FINE_TUNING:
        if settlement is None:
            return await examine_fine_tuning(network, user, provider, service)
        message, signature = read_task(settlement)
        return await examine_fine_tuning(network, message.user, provider, service, message=message, signature=signature)
    if settlement is None:
        return await examine_inference(network, user, provider, service)
    (first, *_) = read_settlements(settlement)
    return await examine_inference(network, first.settlement.user, provider, service, first)
