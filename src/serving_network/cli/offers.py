# SPDX-License-Identifier: Apache-2.0
"""How a provider's service is shown, to people and in JSON."""

from __future__ import annotations

from dataclasses import asdict, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from serving_network.cli.output import money
from serving_network.cli.times import moment
from serving_network.contracts.models import FineTuningOffer
from serving_network.money import describe

if TYPE_CHECKING:
    from serving_network.contracts.models import Offer, ProviderService


def price(offer: Offer | FineTuningOffer) -> str:
    """An offer's price."""
    if isinstance(offer, FineTuningOffer):
        return f"{describe(offer.price_per_token)} per token"
    return f"{describe(offer.input_price)} per input token, {describe(offer.output_price)} per output token"


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
