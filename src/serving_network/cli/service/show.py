"""`serving service show`"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from serving_network.cli.arguments import INFERENCE_SERVICE, USER_OR_SELF
from serving_network.cli.context import Session, reads
from serving_network.cli.times import moment
from serving_network.contracts.errors import ServiceNotExist
from serving_network.contracts.models import FineTuningOffer
from serving_network.money import describe

if TYPE_CHECKING:
    from serving_network.contracts.models import Offer, ProviderService


@reads
async def show(session: Session, provider: USER_OR_SELF = None, service: INFERENCE_SERVICE = "inference") -> None:
    """Show one provider's service: what it offers, at what price, and whether its TEE signer is confirmed.

    Example: serving service show good-provider
    """
    whose = session.address(provider) if provider else session.own_address()
    found = await (await session.reader()).offer(whose, service)
    if found is None:
        raise ServiceNotExist(provider=whose)
    session.out.result(offer_as_json(found))
    facts = {
        "provider": session.name(found.provider),
        "service": found.service,
        "url": found.offer.url,
        "price": price(found.offer),
        "TEE signer": found.offer.tee_signer,
        "confirmed": "yes, by the owner" if found.confirmed else "no: it cannot be paid yet",
    }
    if isinstance(found.offer, FineTuningOffer):
        quota = found.offer.quota
        facts["models"] = ", ".join(found.offer.models) or "none"
        facts["machine"] = (
            f"{quota.cpu_count} CPUs, memory {quota.node_memory}, {quota.gpu_count} x {quota.gpu_type}, "
            f"storage {quota.node_storage}"
        )
        facts["occupied"] = "yes" if found.offer.occupied else "no"
    else:
        facts["model"] = found.offer.model
        facts["verifiability"] = found.offer.verifiability or "none"
        facts["information"] = found.offer.additional_info or "none"
    if found.updated_at is not None:
        facts["updated"] = moment(found.updated_at)
    session.out.facts(facts)


def price(offer: Offer | FineTuningOffer) -> str:
    """An offer's price for people."""
    if isinstance(offer, FineTuningOffer):
        return f"{describe(offer.price_per_token)} a token"
    return f"{describe(offer.input_price)} in, {describe(offer.output_price)} out, a token"


def offer_as_json(found: ProviderService) -> dict[str, Any]:
    """One service in JSON; prices are texts of wei."""
    offer = {
        name: str(value) if name.endswith(("price", "price_per_token")) else value
        for name, value in asdict(found.offer).items()
    }
    return {
        "provider": found.provider,
        "service": found.service,
        **offer,
        "confirmed": found.confirmed,
        "updated": None if found.updated_at is None else moment(found.updated_at),
    }
