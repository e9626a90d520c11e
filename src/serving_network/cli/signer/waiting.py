"""`serving signer waiting`"""

from __future__ import annotations

from serving_network.cli.arguments import INFERENCE_SERVICE
from serving_network.cli.context import Session, reads
from serving_network.cli.service.show import offer_as_json, price
from serving_network.contracts.models import FineTuningOffer


@reads
async def waiting(session: Session, service: INFERENCE_SERVICE = "inference") -> None:
    """For the owner: list the providers whose TEE signer waits for confirmation, with what they registered.

    Example: serving signer waiting
    """
    offers = [one for one in await (await session.reader()).offers(service) if not one.confirmed]
    session.out.result([offer_as_json(one) for one in offers])
    session.out.table(
        ("provider", "TEE signer", "url", "model", "price"),
        [
            (
                session.name(one.provider),
                one.offer.tee_signer,
                one.offer.url,
                ", ".join(one.offer.models) if isinstance(one.offer, FineTuningOffer) else one.offer.model,
                price(one.offer),
            )
            for one in offers
        ],
        empty="Nobody is waiting.",
    )
