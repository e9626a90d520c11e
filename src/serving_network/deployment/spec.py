# SPDX-License-Identifier: Apache-2.0
"""The file that an operator writes, `networks/NAME.toml`: the network that is wanted.

`EXAMPLE` shows its entries. `owner` and `upgrade_owner` of the ledger and of each service are the deployer by default.
What is deployed is in the record, `networks/NAME.json`: a `[[service]]` that is added here later is deployed beside the
others.
"""

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from serving_network.addresses import is_checksum_address
from serving_network.deployment.errors import RecordProblem
from serving_network.errors import InvalidInput
from serving_network.files import unreadable
from serving_network.money import parse_amount
from serving_network.untrusted import parse_toml, printable

HOUR = 3600
MOST_PROBLEMS = 10
WEEK = 7 * 24 * HOUR


def _address(value: str) -> str:
    if not is_checksum_address(value):
        raise ValueError(f"{value} is not an address with a valid checksum")
    return value


def _wei(value: object) -> object:
    try:
        return parse_amount(value) if isinstance(value, str) else value
    except InvalidInput as error:
        raise ValueError(error.message) from error


Address = Annotated[str, AfterValidator(_address)]
Wei = Annotated[int, BeforeValidator(_wei), Field(gt=0, lt=2**256)]


class Model(BaseModel):
    """A part of a file: no unknown keys, no silent conversions, never changed in place."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class LedgerSpec(Model):
    """The one ledger. Minimums in wei; owners default to the deployer."""

    min_account_balance: Wei
    min_transfer_amount: Wei
    owner: Address | None = None
    upgrade_owner: Address | None = None
    clients: str = ""
    providers: str = ""


class ServiceSpec(Model):
    """One version of one service type. `lock_time` in seconds, stake in wei."""

    contract: Literal["InferenceServing", "FineTuningServing"]
    type: Annotated[str, Field(min_length=1)]
    version: Annotated[str, Field(min_length=1)]
    description: str
    lock_time: Annotated[int, Field(ge=HOUR, le=WEEK)]
    min_provider_stake: Wei
    penalty_percentage: Annotated[int, Field(ge=0, le=100)] | None = None
    recommended: bool = False
    owner: Address | None = None
    upgrade_owner: Address | None = None
    clients: str = ""
    providers: str = ""

    @property
    def name(self) -> str:
        """The full name under which the ledger registers it."""
        return f"{self.type}-{self.version}"

    @model_validator(mode="after")
    def _penalty_where_it_belongs(self) -> Self:
        if (self.contract == "FineTuningServing") != (self.penalty_percentage is not None):
            raise ValueError("FineTuningServing needs penalty_percentage; no other contract takes it")
        return self


class NetworkSpec(Model):
    """A network. A step is final when it is `confirmations` blocks deep, its own block included."""

    chain_id: Annotated[int, Field(gt=0)]
    confirmations: Annotated[int, Field(ge=1, le=1000)] = 1
    ledger: LedgerSpec
    services: tuple[ServiceSpec, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [one.name for one in self.services]
        if len(set(names)) != len(names):
            raise ValueError("two services have the same type and version")
        kinds = [one.type for one in self.services if one.recommended]
        if len(set(kinds)) != len(kinds):
            raise ValueError("two versions of one service type are recommended")
        return self


EXAMPLE: Final = """\
[network]
chain_id = 31337
confirmations = 1

[ledger]
min_account_balance = "3 coins"
min_transfer_amount = "1 coin"

[[service]]
contract = "InferenceServing"
type = "inference"
version = "v1.0"
description = "Answers of language models"
lock_time = 86400
min_provider_stake = "100 coins"
recommended = true
clients = ">=0.1"
providers = ">=0.1"

[[service]]
contract = "FineTuningServing"
type = "fine-tuning"
version = "v1.1"
description = "Training of models"
lock_time = 86400
penalty_percentage = 30
min_provider_stake = "100 coins"
recommended = true
"""
"""The file of a network with both services, on a local chain."""


def load_spec(path: Path) -> NetworkSpec:
    """Read a network file. Raises RecordProblem naming the line or key that is wrong."""
    try:
        content = parse_toml(path.read_bytes())
    except FileNotFoundError as error:
        folder = "" if path.parent.is_dir() else f"mkdir -p {path.parent} && "
        raise RecordProblem(
            f"There is no {path}.",
            next_step=f"Write one from an example: {folder}serving deploy plan --example > {path}",
        ) from error
    except (OSError, ValueError) as error:
        raise unreadable(RecordProblem, path, error, "TOML") from error
    network = content.pop("network", None)
    if not isinstance(network, dict):
        raise RecordProblem(f"{path} has no [network] part.", next_step="Add [network] with its chain_id.")
    services = content.pop("service", [])
    if not isinstance(services, list) or network.keys() & {"ledger", "services"} or "services" in content:
        raise RecordProblem(
            f"{path} has an unknown form of its ledger or services.",
            next_step="Write [network], [ledger], and [[service]] for each service.",
        )
    content["services"] = tuple(services)
    try:
        return NetworkSpec.model_validate({**network, **content})
    except ValidationError as error:
        raise RecordProblem(f"{path}: {_problems(error)}.", next_step=f"Fix {path} and run again.") from error


def _problems(error: ValidationError) -> str:
    return "; ".join(
        f"{printable('.'.join(str(part) for part in one['loc'])) or 'file'}: {printable(one['msg'])}"
        for one in error.errors(include_url=False)[:MOST_PROBLEMS]
    )
