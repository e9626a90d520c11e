# SPDX-License-Identifier: Apache-2.0
"""The health of a network, for monitoring: findings, an exit code, and metrics for Prometheus.

A *failure* may put money at risk: the books do not balance, or an owner or implementation is not the recorded one. A
*warning* is anything else to look at: providers that wait for confirmation, unfinished work, a service that does not
answer.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.contract import Contract
from serving_network.clients.read.books import Books
from serving_network.clients.read.providers import registered_providers
from serving_network.deployment.books import front_of, recorded_books
from serving_network.deployment.check import check_record
from serving_network.deployment.ownership import accepts, ownerships
from serving_network.deployment.record import Record, RecordedContract
from serving_network.errors import ContractError, NodeFailure

SERVING_ID = bytes.fromhex("160841b1")


class Level(IntEnum):
    """How serious a symptom is."""

    WELL = 0
    WARNING = 1
    FAILURE = 2


@dataclass(frozen=True)
class Symptom:
    """One problem. `check` is a short name that stays the same in all releases."""

    level: Level
    check: str
    subject: str
    says: str


@dataclass(frozen=True)
class Health:
    """A network at one block.

    `pending_confirmations` is the number of providers, by service, whose signer the owner has not confirmed yet.
    `books` is None if a contract could not be read.
    """

    network: str
    block: int
    block_time: int
    books: Books | None
    symptoms: tuple[Symptom, ...]
    pending_confirmations: dict[str, int]

    @property
    def level(self) -> Level:
        return max((one.level for one in self.symptoms), default=Level.WELL)


async def examine(chain: AsyncConnection, record: Record) -> Health:
    """Check everything once, with the books and listings of one block.

    Raises WrongChain and PlanRefused for another chain than the record's.
    """
    symptoms = [
        Symptom(Level.FAILURE, "as_recorded", finding.item, finding.difference)
        for finding in await check_record(chain, record, deep=False)
        if finding.difference is not None
    ]
    block = await chain.block_number()
    books, waiting = None, {}
    try:
        books = await recorded_books(chain, record, block)
        waiting = {name: await _waiting(chain, service, block) for name, service in record.services.items()}
        symptoms += [Symptom(Level.FAILURE, "books", "network", problem) for problem in books.problems]
    except (ContractError, NodeFailure) as error:
        symptoms.append(Symptom(Level.FAILURE, "books", "network", f"the books cannot be read: {error}"))
    offered = [one for one in await ownerships(chain, record) if one.offered_to is not None]
    symptoms += [
        Symptom(Level.WARNING, "ownership_offered", f"{one.name} {one.kind}", f"is offered to {one.offered_to}")
        for one in offered
    ]
    if record.pending is not None:
        symptoms.append(
            Symptom(Level.WARNING, "unfinished", record.pending.subject, f"{record.pending.what} is not finished")
        )
    symptoms += [
        Symptom(Level.WARNING, "instruction_open", one.subject, f"{one.sender} still has to {one.says}")
        for one in record.open_instructions
        if not any(accepts(one, offer) for offer in offered)
    ]
    symptoms += [
        Symptom(
            Level.WARNING,
            "confirmations",
            name,
            _waiting_providers(count),
        )
        for name, count in waiting.items()
        if count
    ]
    symptoms += await _silent_services(chain, record, block)
    return Health(record.network, block, await chain.timestamp(block), books, tuple(symptoms), waiting)


def prometheus(health: Health) -> str:
    """The health in the text format of Prometheus; amounts in wei."""
    network = f'network="{_label(health.network)}"'
    failures: dict[str, int] = {"as_recorded": 0, "books": 0, "service_silent": 0}
    for one in health.symptoms:
        failures[one.check] = failures.get(one.check, 0) + 1
    metrics = [
        _metric("serving_health_level", "0 well, 1 warning, 2 failure", [(network, int(health.level))]),
        _metric("serving_block", "The block that was checked", [(network, health.block)]),
        _metric("serving_block_timestamp_seconds", "The time of that block", [(network, health.block_time)]),
        _metric(
            "serving_symptoms",
            "Problems found, by check",
            [(f'{network},check="{check}"', count) for check, count in sorted(failures.items())],
        ),
        _metric(
            "serving_pending_confirmations",
            "Providers that wait for the owner's confirmation",
            [(f'{network},service="{_label(name)}"', count) for name, count in health.pending_confirmations.items()],
        ),
        *([] if health.books is None else _book_metrics(network, health.books)),
    ]
    return "".join(metrics)


def _book_metrics(network: str, books: Books) -> list[str]:
    services = {one: f'{network},service="{_label(one.name)}"' for one in books.services}
    contracts = {one: f'{network},contract="{_label(one.name)}"' for one in books.services}
    ledger = f'{network},contract="ledger"'
    return [
        _metric(
            "serving_held_wei",
            "Coins that a contract holds",
            [(ledger, books.ledger_holds)] + [(label, one.holds) for one, label in contracts.items()],
        ),
        _metric(
            "serving_owed_wei",
            "Coins that a contract owes to users and providers",
            [(ledger, books.available)] + [(label, one.owed) for one, label in contracts.items()],
        ),
        _metric(
            "serving_accounts",
            "Accounts of users with providers",
            [(label, one.accounts) for one, label in services.items()],
        ),
        _metric(
            "serving_providers",
            "Registered providers",
            [(label, len(one.providers)) for one, label in services.items()],
        ),
        _metric("serving_ledgers", "Users with a ledger", [(network, books.ledgers)]),
    ]


def _waiting_providers(count: int) -> str:
    return "1 provider waits for confirmation" if count == 1 else f"{count} providers wait for confirmation"


async def _waiting(chain: AsyncConnection, service: RecordedContract, block: int) -> int:
    return sum(
        not one["teeSignerAcknowledged"] for one in await registered_providers(front_of(chain, service), block=block)
    )


async def _silent_services(chain: AsyncConnection, record: Record, block: int) -> list[Symptom]:
    """Registered services that do not answer as a service must, or are not in the record."""
    symptoms = []
    known = {one.front.address for one in record.services.values()}
    for info in await front_of(chain, record.ledger).listing("getActiveServices", block=block):
        address, name = info["serviceAddress"], info["fullName"]
        try:
            answers = await Contract(chain, "InferenceServing", address).read(
                "supportsInterface", SERVING_ID, block=block
            )
        except (ContractError, NodeFailure) as error:
            symptoms.append(Symptom(Level.WARNING, "service_silent", name, f"{address} does not answer: {error}"))
            continue
        if not answers:
            symptoms.append(
                Symptom(Level.WARNING, "service_silent", name, f"{address} no longer reports that it is a service")
            )
        if address not in known:
            symptoms.append(
                Symptom(
                    Level.WARNING,
                    "service_unrecorded",
                    name,
                    f"{address} is registered but not in the record",
                )
            )
    return symptoms


def _metric(name: str, says: str, samples: Iterable[tuple[str, int]]) -> str:
    lines = [f"# HELP {name} {says}", f"# TYPE {name} gauge"]
    return "\n".join([*lines, *(f"{name}{{{labels}}} {value}" for labels, value in samples)]) + "\n"


def _label(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
