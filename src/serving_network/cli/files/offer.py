# SPDX-License-Identifier: Apache-2.0
"""What a provider offers, read from a TOML file and changed by options."""

from __future__ import annotations

import shlex
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final

from serving_network.contracts.models import FINE_TUNING, INFERENCE, FineTuningOffer, Offer, Quota
from serving_network.errors import ConfigurationError, InvalidInput
from serving_network.files import unreadable
from serving_network.money import parse_wei
from serving_network.networks import parse_address
from serving_network.untrusted import parse_toml, printable

if TYPE_CHECKING:
    from pathlib import Path


EXAMPLES: Final = {
    INFERENCE: """\
# An inference service. After registration, a change of anything but url and prices
# needs a new confirmation by the network's owner.
service_type = "chatbot"
url = "https://provider.example"  # your server, as users reach it
model = "model-1"
verifiability = "TeeML"           # how answers are verified; empty for none
input_price = "100 gwei"          # per token
output_price = "200 gwei"         # per token
additional_info = ""
tee_signer = "0x..."              # the address that your TEE signs with
""",
    FINE_TUNING: """\
# A fine-tuning service. After registration, a change of tee_signer needs a new
# confirmation by the network's owner.
url = "https://provider.example"  # your server, as users reach it
price_per_token = "10 gwei"
occupied = false
models = ["model-1"]
tee_signer = "0x..."              # the address that your TEE signs with

[quota]
cpu_count = 8
node_memory = 64
gpu_count = 1
node_storage = 1000
gpu_type = "H100"
""",
}
"""An offer file for each kind of service."""


def kind_of(service: str) -> str:
    """The kind of service that this type or name stands for."""
    return FINE_TUNING if service.startswith(FINE_TUNING) else INFERENCE


def read_offer(path: Path, service: str) -> Offer | FineTuningOffer:
    """The offer in a TOML file. Raises ConfigurationError, which says what is missing or wrong."""
    try:
        content = parse_toml(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigurationError(f"There is no file {path}.", next_step=_how_to_write(path, service)) from error
    except (OSError, ValueError) as error:
        raise unreadable(ConfigurationError, path, error, "TOML") from error
    kind: type[Offer | FineTuningOffer] = FineTuningOffer if kind_of(service) == FINE_TUNING else Offer
    wanted = {one.name for one in fields(kind)}
    if content.keys() != wanted:
        missing, unknown = sorted(wanted - content.keys()), sorted(content.keys() - wanted)
        raise ConfigurationError(
            f"{path} does not describe a service.",
            cause=f"Missing: {', '.join(missing) or 'nothing'}. Unknown: {', '.join(unknown) or 'nothing'}.",
            next_step=f"Fix {path} and run again.",
        )
    try:
        return kind(**{name: _field(name, value) for name, value in content.items()})
    except (TypeError, InvalidInput) as error:
        raise ConfigurationError(
            f"{path} does not describe a service.", cause=printable(str(error)), next_step=f"Fix {path} and run again."
        ) from error


def _how_to_write(path: Path, service: str) -> str:
    """The next step for an offer file that does not exist. `model=x` was meant for --set."""
    name, equals, _ = path.name.partition("=")
    if equals and name.isidentifier():
        return f"To change a field: serving service update --set {shlex.quote(str(path))}"
    kind = "" if kind_of(service) == INFERENCE else f" --service {service}"
    return f"Write one from an example: serving service register --example{kind} > {shlex.quote(str(path))}"


def changed(offer: Offer | FineTuningOffer, changes: dict[str, Any]) -> Offer | FineTuningOffer:
    """The offer with these fields changed. Raises ConfigurationError for a field that it does not have."""
    known = {one.name for one in fields(offer)}
    for name in changes:
        if name not in known:
            raise ConfigurationError(
                f"A service of this kind has no field {name!r}.",
                cause=f"Its fields are {', '.join(one.name for one in fields(offer))}.",
                next_step="serving service update --help",
            )
    try:
        return replace(offer, **{name: _value(name, value) for name, value in changes.items()})
    except TypeError as error:
        raise ConfigurationError(
            f"A field has an invalid value: {printable(str(error))}.",
            next_step="Set lists and tables in an offer file instead.",
        ) from error


def parse_url(text: str) -> str:
    """The URL of a provider's server. Raises InvalidInput."""
    from serving_network.clients.read.inference import is_server_url

    if is_server_url(text):
        return text
    raise InvalidInput(
        f"{printable(text)!r} is not the URL of a server.",
        next_step="Write it with its scheme: https://gateway.example",
    )


def _field(name: str, value: Any) -> Any:
    """A field's value in a file. Raises InvalidInput naming the field, and TypeError."""
    try:
        return _value(name, value)
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}") from error


def _value(name: str, value: Any) -> Any:
    """A field's value as an offer holds it. Raises TypeError for a value of another kind."""
    match name, value:
        case (("input_price" | "output_price" | "price_per_token"), int()) if type(value) is int:
            return value
        case (("input_price" | "output_price" | "price_per_token"), str()):
            return parse_wei(value)
        case "url", str():
            return parse_url(value)
        case "tee_signer", str():
            return parse_address(value)
        case "models", list() | tuple() if all(isinstance(one, str) for one in value):
            return tuple(value)
        case "quota", dict() if all(type(one) is (str if key == "gpu_type" else int) for key, one in value.items()):
            return Quota(**value)
        case "quota", Quota():
            return value
        case "occupied", bool():
            return value
        case "occupied", "true" | "false":
            return value == "true"
        case (("input_price" | "output_price" | "price_per_token" | "tee_signer" | "models" | "quota" | "occupied"), _):
            pass
        case _, str():
            return value
    raise TypeError(f"{name} cannot be {printable(value)}")
