# SPDX-License-Identifier: Apache-2.0
"""`serving signer`: providers' TEE signers, which the owner of a service confirms."""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.console.arguments import INFERENCE_SERVICE, PROVIDER
from serving_network.cli.console.command import reads, writes
from serving_network.cli.console.session import Session
from serving_network.cli.files.offer import kind_of
from serving_network.cli.parts import quote
from serving_network.cli.parts.offers import PRICES, models, offer_as_json, prices
from serving_network.cli.parts.quote import COLLATERAL, COMPOSE_HASH, PCCS
from serving_network.networks import parse_address

app = typer.Typer(help="Review and confirm providers' TEE signers, as the owner of a service.")


@app.command()
@reads
async def waiting(session: Session, service: INFERENCE_SERVICE = "inference") -> None:
    """List the providers whose TEE signer is not confirmed, with what they registered.

    Example: serving signer waiting
    """
    network = await session.reader()
    registered = await network.offers(service)
    offers = [one for one in registered if not one.confirmed]
    nobody = f"No provider has registered in {(await network.service(service)).name} yet."
    session.out.result([offer_as_json(one) for one in offers])
    session.out.table(
        ("provider", "TEE signer", "url", "model", *PRICES[kind_of(service)]),
        [
            (session.name(one.provider), one.offer.tee_signer, one.offer.url, models(one.offer), *prices(one.offer))
            for one in offers
        ],
        empty="Every registered TEE signer is confirmed." if registered else nobody,
    )


@app.command()
@reads
async def review(
    session: Session,
    provider: PROVIDER,
    collateral: COLLATERAL = None,
    pccs: PCCS = "",
    compose_hash: COMPOSE_HASH = None,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Verify the quote of a provider's TEE before you confirm its signer.

    Archives verdict, quote and collateral. Each fault has an exit code of its own, from 20.

    Example: serving signer review good-provider
    """
    from serving_network.clients.read.inference import served_offer

    whose = session.address(provider)
    offer = await served_offer(await session.reader(), whose, service)
    verdict = await quote.review(session, whose, offer, quote.Given(collateral, pccs, compose_hash))
    if verdict.genuine:
        confirm = f"serving signer confirm {whose} --expect {offer.tee_signer} --service {service}"
        session.out.line(f"To confirm it: {confirm}")
    quote.end(session, verdict)


@app.command()
@writes
async def confirm(
    session: Session,
    provider: PROVIDER,
    expect: Annotated[
        str | None, typer.Option(help="The signer that you examined. Default: the one registered now.")
    ] = None,
    service: INFERENCE_SERVICE = "inference",
    shared: Annotated[
        bool, typer.Option("--shared", help="Allow a signer that another provider has registered, too.")
    ] = False,
) -> None:
    """Confirm a provider's TEE signer, so that its settlements are paid.

    The contract reverts if the provider has replaced the signer in the meantime.

    Example: serving signer confirm good-provider --expect 0x70997970C51812dc3A010C7d01b50e0d17dc79C8
    """
    owner = await session.owner()
    expected = parse_address(expect) if expect else None
    await owner.confirm(session.address(provider), service, signer=expected, shared=shared)


@app.command()
@writes
async def revoke(session: Session, provider: PROVIDER, service: INFERENCE_SERVICE = "inference") -> None:
    """Revoke the confirmation of a provider's TEE signer. Its settlements are then no longer paid.

    Example: serving signer revoke bad-provider
    """
    owner = await session.owner()
    await owner.revoke(session.address(provider), service)
