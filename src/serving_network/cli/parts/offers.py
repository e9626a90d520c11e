# SPDX-License-Identifier: Apache-2.0
"""How a provider's service is shown, to people and in JSON."""

from __future__ import annotations

from dataclasses import asdict, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final

from serving_network.cli.console.output import money
from serving_network.cli.console.times import moment
from serving_network.contracts.models import FINE_TUNING, INFERENCE, FineTuningOffer
from serving_network.money import describe

if TYPE_CHECKING:
    from serving_network.contracts.models import Offer, ProviderService


PRICES: Final = {INFERENCE: ("per input token", "per output token"), FINE_TUNING: ("per token",)}
"""What the prices of an offer are for, by kind of service."""


def prices(offer: Offer | FineTuningOffer) -> tuple[str, ...]:
    """An offer's prices, in the order of PRICES."""
    found = (offer.price_per_token,) if isinstance(offer, FineTuningOffer) else (offer.input_price, offer.output_price)
    return tuple(describe(one) for one in found)


def price(offer: Offer | FineTuningOffer) -> str:
    """An offer's prices in one text."""
    kind = FINE_TUNING if isinstance(offer, FineTuningOffer) else INFERENCE
    return ", ".join(f"{amount} {what}" for amount, what in zip(prices(offer), PRICES[kind], strict=True))


def changes(old: Offer | FineTuningOffer, new: Offer | FineTuningOffer) -> list[tuple[str, str, str]]:
    """The fields that differ: name, old value, new value."""
    return [
        (one.name, _value(one.name, getattr(old, one.name)), _value(one.name, getattr(new, one.name)))
        for one in fields(new)
        if getattr(old, one.name, None) != getattr(new, one.name)
    ]


def _value(name: str, value: Any) -> str:
    if name in ("input_price", "output_price", "price_per_token"):
        return describe(value)
    if is_dataclass(value):
        return ", ".join(f"{one.name} {getattr(value, one.name)}" for one in fields(value))
    return ", ".join(value) if isinstance(value, tuple) else str(value) or "empty"


def models(offer: Offer | FineTuningOffer) -> str:
    """An offer's model, or its models."""
    return (", ".join(offer.models) or "none") if isinstance(offer, FineTuningOffer) else offer.model


def offer_as_json(found: ProviderService) -> dict[str, Any]:
    """One service in JSON."""
    offer = {
        name: money(value) if name.endswith(("price", "price_per_token")) else value
        for name, value in asdict(found.offer).items()
    }
    return {
        "provider": found.provider,
        "service": found.service,
        **offer,
        "confirmed": found.confirmed,
        "updated": None if found.updated_at is None else moment(found.updated_at),
    }


def to_check(provider: str, service: str) -> str:
    """What follows a registration, and the command that shows it whichever key is in use."""
    which = "" if service == INFERENCE else f" --service {service}"
    return f"Next, the network's owner must confirm the TEE signer. To check: serving service show {provider}{which}"
