"""What a provider offers, read from a TOML file or from what is registered, changed by options."""

from __future__ import annotations

import tomllib
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from serving_network.chain.networks import parse_address
from serving_network.clients.models import FINE_TUNING, FineTuningOffer, Offer, Quota
from serving_network.errors import ConfigurationError
from serving_network.money import parse_wei

if TYPE_CHECKING:
    from pathlib import Path

INFERENCE_EXAMPLE = """
    service_type = "chatbot"
    url = "https://provider.example"
    model = "llama-3"
    verifiability = "TeeML"
    input_price = "100 wei"          # a token
    output_price = "200 wei"
    additional_info = ""
    tee_signer = "0x..."
"""


def read_offer(path: Path, service: str) -> Offer | FineTuningOffer:
    """The offer in a TOML file. Raises ConfigurationError that says what is missing or wrong."""
    try:
        told = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read.", cause=str(error), next_step=f"Mend {path}") from error
    kind: type[Offer | FineTuningOffer] = FineTuningOffer if service.startswith(FINE_TUNING) else Offer
    wanted = {one.name for one in fields(kind)}
    if told.keys() != wanted:
        missing, unknown = sorted(wanted - told.keys()), sorted(told.keys() - wanted)
        raise ConfigurationError(
            f"{path} does not describe a service.",
            cause=f"Missing: {', '.join(missing) or 'nothing'}. Unknown: {', '.join(unknown) or 'nothing'}.",
            next_step=f"Mend {path}",
        )
    try:
        return kind(**{name: _value(name, value) for name, value in told.items()})
    except (TypeError, KeyError) as error:
        raise ConfigurationError(
            f"{path} does not describe a service.", cause=str(error), next_step=f"Mend {path}"
        ) from error


def changed(offer: Offer | FineTuningOffer, changes: dict[str, Any]) -> Offer | FineTuningOffer:
    """The offer with these fields changed. Raises ConfigurationError for a field that it does not have."""
    known = {one.name for one in fields(offer)}
    for name in changes:
        if name not in known:
            raise ConfigurationError(f"A service of this kind has no {name!r}.", next_step="serving service show")
    return replace(offer, **{name: _value(name, value) for name, value in changes.items()})


def _value(name: str, value: Any) -> Any:
    if name.endswith(("_price", "price_per_token")):
        return value if isinstance(value, int) else parse_wei(value)
    if name == "tee_signer":
        return parse_address(value)
    if name == "models":
        return tuple(value)
    if name == "quota":
        return Quota(**value)
    return value
