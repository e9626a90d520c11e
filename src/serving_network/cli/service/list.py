"""`serving service list`"""

from __future__ import annotations

from serving_network.cli.arguments import INFERENCE_SERVICE
from serving_network.cli.context import Session, reads
from serving_network.cli.service.show import offer_as_json, price
from serving_network.contracts.models import FineTuningOffer


@reads
async def list_services(session: Session, service: INFERENCE_SERVICE = "inference") -> None:
    """List every provider's service.

    Example: serving service list --service fine-tuning
    """
    offers = await (await session.reader()).offers(service)
    session.out.result([offer_as_json(one) for one in offers])
    session.out.table(
        ("provider", "model", "url", "price", "confirmed"),
        [
            (
                session.name(one.provider),
                ", ".join(one.offer.models) if isinstance(one.offer, FineTuningOffer) else one.offer.model,
                one.offer.url,
                price(one.offer),
                "yes" if one.confirmed else "no",
            )
            for one in offers
        ],
        empty="No provider has registered a service here.",
    )
