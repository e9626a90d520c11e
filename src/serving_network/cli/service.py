# SPDX-License-Identifier: Apache-2.0
"""`serving service`: what providers offer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serving_network.cli.bill import bill_identity, bill_path
from serving_network.cli.console.arguments import AMOUNT_HELP, INFERENCE_SERVICE, PROVIDER, USER_OR_SELF
from serving_network.cli.console.command import reads, writes
from serving_network.cli.console.session import Session
from serving_network.cli.console.times import local_time
from serving_network.cli.files.offer import EXAMPLES, changed, kind_of, read_offer
from serving_network.cli.parts.offers import PRICES, changes, models, offer_as_json, price, prices, to_check
from serving_network.cli.parts.quote import COLLATERAL, COMPOSE_HASH, PCCS, Given, end, review
from serving_network.contracts.models import FineTuningOffer
from serving_network.counting import count
from serving_network.errors import InvalidInput
from serving_network.money import parse_wei, rounded
from serving_network.store.bills import open_bill

app = typer.Typer(help="Find services that providers offer; register, update and remove your own.")


@app.command("list")
@reads
async def list_services(session: Session, service: INFERENCE_SERVICE = "inference") -> None:
    """List every provider's service.

    Example: serving service list --service fine-tuning
    """
    offers = await (await session.reader()).offers(service)
    session.out.result([offer_as_json(one) for one in offers])
    session.out.table(
        ("provider", "model", "url", *PRICES[kind_of(service)], "confirmed"),
        [
            (
                session.name(one.provider),
                models(one.offer),
                one.offer.url,
                *prices(one.offer),
                "yes" if one.confirmed else "no",
            )
            for one in offers
        ],
        empty="No provider has registered a service yet.",
    )


@app.command()
@reads
async def verify(
    session: Session,
    provider: PROVIDER,
    trust: Annotated[
        bool, typer.Option("--trust", help="Buy from this signer from now on, whatever the verdict.")
    ] = False,
    collateral: COLLATERAL = None,
    pccs: PCCS = "",
    compose_hash: COMPOSE_HASH = None,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Verify the quote of a provider's TEE: that a genuine processor vouches for the registered signer.

    Archives verdict, quote and collateral. Each fault has an exit code of its own, from 20.

    Example: serving service verify good-provider
    """
    from serving_network.clients.read.inference import inference_service, served_offer

    network, whose = await session.reader(), session.address(provider)
    if trust:  # only providers of inference are bought from
        await inference_service(network, whose, service)
    offer = await served_offer(network, whose, service)
    verdict = await review(session, whose, offer, Given(collateral, pccs, compose_hash))
    if trust:
        identity = await bill_identity(session, network, provider, service)
        with open_bill(bill_path(session, identity), identity) as bill:
            bill.trust(offer.tee_signer)
        session.out.line(f"{session.name(identity.user)} now buys from this signer.")
    end(session, verdict)


@app.command()
@reads
async def show(session: Session, provider: USER_OR_SELF = None, service: INFERENCE_SERVICE = "inference") -> None:
    """Show one provider's service: its offer, its price, and whether the owner has confirmed its TEE signer.

    Example: serving service show good-provider
    """
    from serving_network.contracts.errors import ServiceNotExist

    whose = session.address_or_own(provider)
    found = await (await session.reader()).offer(whose, service)
    if found is None:
        raise ServiceNotExist(provider=whose)
    session.out.result(offer_as_json(found))
    offer = found.offer
    facts = {
        "provider": session.name(found.provider),
        "service": found.service,
        "url": offer.url,
        "price": price(offer),
        "TEE signer": offer.tee_signer,
        "confirmed": "yes, by the owner" if found.confirmed else "no: the provider cannot be paid yet",
    }
    if isinstance(offer, FineTuningOffer):
        quota = offer.quota
        facts["models"] = models(offer)
        facts["machine"] = (
            f"{count(quota.cpu_count, 'CPU')}, memory {quota.node_memory}, {quota.gpu_count} x {quota.gpu_type}, "
            f"storage {quota.node_storage}"
        )
        facts["occupied"] = "yes" if offer.occupied else "no"
    else:
        facts["model"] = models(offer)
        facts["verifiability"] = offer.verifiability or "none"
        facts["information"] = offer.additional_info or "none"
    if found.updated_at is not None:
        facts["updated"] = local_time(found.updated_at)
    session.out.facts(facts)


@app.command()
@writes
async def register(
    session: Session,
    offer: Annotated[
        Path | None, typer.Argument(help="A TOML file that describes the service. --example prints one.")
    ] = None,
    example: Annotated[bool, typer.Option("--example", help="Print an example of the file. Send nothing.")] = False,
    stake: Annotated[
        int | None, typer.Option(parser=parse_wei, metavar="AMOUNT", help=f"Default: the minimum. {AMOUNT_HELP}")
    ] = None,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Register as a provider, with a stake that is returned when you remove the service.

    You can settle once the owner has confirmed your TEE signer.

    Example: serving service register offer.toml
    """
    if example:
        session.out.result({"offer": EXAMPLES[kind_of(service)]})
        session.out.document(EXAMPLES[kind_of(service)])
        return
    if offer is None:
        raise InvalidInput(
            "An offer file is required.",
            next_step="Write one from an example: serving service register --example > offer.toml",
        )
    provider = await session.provider()
    await provider.register(read_offer(offer, service), stake, service)
    if not session.dry_run:
        session.out.line(to_check(provider.address, service))


@app.command()
@writes
async def update(
    session: Session,
    offer: Annotated[Path | None, typer.Argument(help="A TOML file that describes the whole service.")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", help='Set one field: --set "input_price=100 wei". Repeatable.')
    ] = None,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Update your service. Warns you first if the owner must confirm its TEE signer again.

    Example: serving service update --set url=https://new.example
    """
    from serving_network.contracts.errors import ServiceNotExist

    provider = await session.provider()
    registered = await provider.offer(provider.address, service)
    if registered is None:
        raise ServiceNotExist(provider=provider.address)
    old = registered.offer
    new = changed(old if offer is None else read_offer(offer, service), dict(_assignment(one) for one in sets or ()))
    for name, before, after in changes(old, new):
        session.out.note(f"{name}: {before} -> {after}")
    await provider.update(new, service)


@app.command()
@writes
async def remove(session: Session, service: INFERENCE_SERVICE = "inference") -> None:
    """Remove your service and get the stake back. Settle first: afterwards nothing can be settled.

    Refused while the gateway's store has unsettled requests: the file on this machine, or the database it was moved to.

    Example: serving service remove --dry-run
    """
    from serving_network.cli.files.journal import own_store
    from serving_network.settlement.journal import read_journal
    from serving_network.store.served import summarise

    provider = await session.provider()
    contract = (await provider.service(service)).address
    store = own_store(provider.chain.chain_id, contract, provider.address)
    if store is not None:
        if unsettled := summarise(store).unsettled:
            commands = "serving gateway drain, or serving settle"
            if not isinstance(store, Path):
                commands = f"serving gateway drain --journal {store}, or serving settle --journal {store}"
            raise InvalidInput(
                f"Your gateway has {rounded(unsettled)} unsettled, which could never be charged without the service.",
                next_step=f"Settle it: {commands}",
            )
        with read_journal(store) as journal:
            waiting = [one.open for one in journal.users() if one.open]
        if waiting:
            session.out.note(
                f"Note: {rounded(sum(waiting))} of {count(len(waiting), 'user')} are unsettled in {store}. "
                "To settle them first: serving settle USAGE",
                "yellow",
            )
    accounts = await provider.open_accounts(service)
    held = sum(one.balance for one in accounts)
    if held:
        session.out.note(
            f"Note: users still have {rounded(held)} in {count(len(accounts), 'account')} with you. "
            "Unsettled requests can never be charged after this. To settle them: serving settle USAGE",
            "yellow",
        )
    await provider.remove(service)


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidInput(
            f"{text!r} is not of the form FIELD=VALUE.",
            next_step='Write, for example, --set "url=https://new.example".',
        )
    return name.strip(), value.strip()
