# SPDX-License-Identifier: Apache-2.0
"""`serving doctor`: what stands in the way of a payment, and who does what next."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving_network.cli.console.command import reads
from serving_network.cli.console.complete import complete_address, complete_service
from serving_network.cli.console.session import Session
from serving_network.cli.console.tee_key import TEE_KEY_VARIABLE, tee_key_from_environment
from serving_network.cli.files.settlements import read_settlements, read_task
from serving_network.cli.parts.checks import report
from serving_network.errors import KeyFailure, NodeFailure, ServingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.clients.doctor import Check, Role
    from serving_network.clients.read.network import AsyncNetwork, Service


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
    service: Annotated[
        str | None,
        typer.Option(
            "--service",
            "-s",
            help="A service by type or by name. Default: every service in which the key has a role, else inference.",
            autocompletion=complete_service,
        ),
    ] = None,
) -> None:
    """Check everything that a payment from a user to a provider needs, and name the next step and who takes it.

    Without --provider it checks what the key in use needs in its roles: as a user, a provider or an owner. A provider
    that has not registered yet passes its own name. Exits with code 9 if a check fails.

    Example: serving doctor --provider good-provider
    """
    from serving_network.clients.doctor import first_failure

    checks = await _machine(session)
    you: set[Role] = set()
    if first_failure(checks) is None:
        network = await session.reader()
        own = _own_address(session, checks, needed=user is None)
        payer = session.address(user) if user else own
        payee = session.address(provider) if provider else None
        if payer is not None and payee is None:
            found, you = await _roles(session, network, payer, service)
            checks += found
        elif payee is not None and payee == payer:
            checks += await _provider(session, network, payee, [service or "inference"])
            you = {"provider"}
        elif payer is not None and payee is not None:
            checks += await _pair(network, payer, payee, service or "inference", settlement)
            owner = (await network.settings(service or "inference"))["owner"]
            roles: dict[Role, str] = {"user": payer, "provider": payee, "owner": owner}
            you = {role for role, address in roles.items() if address == own}
    report(session.out, checks, you)


async def _machine(session: Session) -> list[Check]:
    """Node, chain, ledger and services."""
    from serving_network.clients.doctor import Check

    try:
        chain = await session.chain()
        head = await chain.block_number()
    except NodeFailure as failure:
        return [Check("node answers", False, f"{failure} {failure.cause or ''}".strip(), failure.next_step)]
    checks = [Check("node answers", True, f"{chain.where}, chain {chain.chain_id}, block {head}")]
    try:
        ledger = session.network.require_ledger()
        network = await session.reader()
        answers = await network.answers()
    except ServingError as failure:
        return [*checks, Check("ledger answers", False, str(failure), failure.next_step)]
    add = f"serving network add {session.network.name} --ledger ADDRESS"
    checks.append(Check("ledger answers", answers, ledger, add))
    if answers:
        names = [one.name for one in await network.versions()]
        checks.append(
            Check("services", bool(names), ", ".join(names) or "none is registered", "serving deploy apply", "owner")
        )
    return checks


def _own_address(session: Session, checks: list[Check], *, needed: bool) -> str | None:
    from serving_network.clients.doctor import Check

    try:
        address = session.own_address()
    except KeyFailure as failure:
        keys = session.configuration.keys.list()
        use = f"serving key use {keys[0].name}" if keys else "serving key new main"
        if needed:
            missing = session.key is None and session.configuration.key_in_use is None
            checks.append(Check("key", False, str(failure), use if missing else failure.next_step))
        return None
    checks.append(Check("key", True, session.name(address)))
    return address


async def _roles(
    session: Session, network: AsyncNetwork, address: str, service: str | None
) -> tuple[list[Check], set[Role]]:
    """The checks of each role that the address has; those of a user if it has none."""
    from serving_network.clients.doctor import examine_offers, examine_owner, examine_user

    services = [await network.service(service)] if service else await network.services()
    owned = [one for one in services if (await network.settings(one.name))["owner"] == address]
    offered = [one for one in services if await network.offer(address, one.name) is not None]
    checks: list[Check] = await examine_offers(network, address)
    you: set[Role] = {"owner"} if checks else set()
    for one in owned:
        checks += _new(checks, await examine_owner(network, address, one.name))
        you.add("owner")
    if offered:
        checks += _new(checks, await _provider(session, network, address, [one.name for one in offered]))
        you.add("provider")
    if not you or await network.ledger(address) is not None:
        checks += _new(checks, await examine_user(network, address, service or _first(services)))
        you.add("user")
    return checks, you


def _first(services: Sequence[Service]) -> str:
    """The service in which a user looks for providers: inference, if there is one."""
    return next((one.name for one in services if one.kind == "inference"), services[0].name)


def _new(checks: Sequence[Check], more: Sequence[Check]) -> list[Check]:
    """What the second list adds to the first: the wallet that passes for one role is not shown again."""
    return [one for one in more if one not in checks]


async def _provider(session: Session, network: AsyncNetwork, provider: str, services: Sequence[str]) -> list[Check]:
    from serving_network.clients.doctor import examine_provider

    checks: list[Check] = []
    for name in services:
        checks += _new(checks, await examine_provider(network, provider, name))
        offer = await network.offer(provider, name)
        if offer is not None and provider == _address_or_none(session):
            checks.append(_tee_key(session, offer.offer.tee_signer))
    return checks


def _address_or_none(session: Session) -> str | None:
    try:
        return session.own_address()
    except KeyFailure:
        return None


def _tee_key(session: Session, signer: str) -> Check:
    """Whether this machine can sign for the registered TEE signer. In production only the TEE can."""
    from serving_network.clients.doctor import Check

    name = "TEE key"
    if os.environ.get(TEE_KEY_VARIABLE):
        key = tee_key_from_environment().address
        set_it = f"Set {TEE_KEY_VARIABLE} to the key of {signer}, or register this one: "
        update = f"serving service update --set tee_signer={key}"
        return Check(name, key == signer, f"{key} in {TEE_KEY_VARIABLE}", set_it + update, "provider")
    for key_file in session.configuration.keys.list():
        if key_file.address == signer:
            return Check(name, True, f"in the key store; to settle: --tee-key {key_file.name}")
    return Check(name, None, f"not on this machine: the TEE signs, or set {TEE_KEY_VARIABLE}")


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
