# SPDX-License-Identifier: Apache-2.0
"""The services that the ledger knows, their balances, and how users migrate from one version to the next."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serving_network.chain.connection import AsyncConnection
from serving_network.clients.read.providers import registered_providers
from serving_network.contracts.models import ZERO_ADDRESS
from serving_network.deployment.books import front_of, recorded_books
from serving_network.deployment.deploy import note_registrations
from serving_network.deployment.errors import NotTheOwner, PlanRefused
from serving_network.deployment.genesis import check_chain
from serving_network.deployment.plan import Assumption, Plan, check_ready, getter, resumed
from serving_network.deployment.record import Record, Step, What
from serving_network.deployment.steps import recommend_step, register_step


@dataclass(frozen=True)
class Listed:
    """One registered service, amounts in wei. Of a service that is not in the record, only `holds` is known."""

    name: str
    type: str
    version: str
    address: str
    description: str
    recommended: bool
    registered_at: int
    holds: int
    ours: bool
    providers: int | None
    accounts: int | None
    users: int | None
    in_accounts: int | None
    stakes: int | None


@dataclass(frozen=True)
class Move:
    """What one user has with one provider in the version to leave. Amounts in wei, times in unix seconds.

    `user` is None for a provider without users, who is listed once. `unlocks_at` is when the last refund unlocks, None
    if none was requested. `provider_has_moved` says whether the provider is registered in the next version.
    """

    user: str | None
    provider: str
    balance: int
    pending: int
    unlocks_at: int | None
    provider_has_moved: bool

    @property
    def steps(self) -> tuple[str, ...]:
        """What the user, or a provider without users, still has to do, in order."""
        if self.user is None:
            register = () if self.provider_has_moved else ("register in the next version",)
            return (*register, "remove the service from this version, which returns the stake")
        ask = () if self.pending == self.balance else ("retrieve",)
        wait = () if self.balance == 0 else ("wait for the lock time", "retrieve again")
        return (
            *ask,
            *wait,
            "fund the provider in the next version"
            if self.provider_has_moved
            else "choose a provider of the next version",
        )


async def list_services(chain: AsyncConnection, record: Record, service_type: str | None = None) -> list[Listed]:
    """Every service that the ledger knows, or those of one type, in the order of their registration."""
    await check_chain(chain, record)
    block = await chain.block_number()
    books = {one.address: one for one in (await recorded_books(chain, record, block)).services}
    found = []
    for info in await front_of(chain, record.ledger).listing("getActiveServices", block=block):
        if service_type not in (None, info["serviceType"]):
            continue
        ours = books.get(info["serviceAddress"])
        found.append(
            Listed(
                name=info["fullName"],
                type=info["serviceType"],
                version=info["version"],
                address=info["serviceAddress"],
                description=info["description"],
                recommended=info["isRecommended"],
                registered_at=info["registeredAt"],
                holds=await chain.balance(info["serviceAddress"], block),
                ours=ours is not None,
                providers=None if ours is None else len(ours.providers),
                accounts=None if ours is None else ours.accounts,
                users=None if ours is None else len(ours.users),
                in_accounts=None if ours is None else ours.owed_to_users,
                stakes=None if ours is None else ours.stakes,
            )
        )
    return found


async def plan_registration(
    chain: AsyncConnection,
    record: Record,
    sender: str,
    *,
    service_type: str,
    version: str,
    address: str,
    description: str = "",
) -> Plan:
    """The call that registers a service contract with the ledger, which then trusts it with users' coins.

    Raises NotTheOwner, and PlanRefused if the name is registered already, or if its registration at another address is
    unfinished.
    """
    name = f"{service_type}-{version}"
    pending = await check_ready(chain, record, "register", name)
    if pending is not None:
        if pending.steps[0].arguments[2] != address:
            raise PlanRefused(
                f"{pending.title} at {pending.steps[0].arguments[2]} is not finished.",
                next_step=f"Run serving {pending.command} --network {record.network}, then run this again.",
            )
        return resumed(pending, _write_down)
    if await front_of(chain, record.ledger).read("getServiceAddressByName", name) != ZERO_ADDRESS:
        raise PlanRefused(
            f"{name} is registered already.", next_step=f"serving registry list --network {record.network}"
        )
    step = register_step(service_type, version, address, description)
    step.says = f"register {name} at {address} with the ledger"
    return await _plan(chain, record, "register", name, sender, step)


async def plan_recommendation(chain: AsyncConnection, record: Record, name: str, sender: str) -> Plan:
    """The call that makes a registered version the recommended one. Raises NotTheOwner and PlanRefused."""
    pending = await check_ready(chain, record, "recommend", name)
    if pending is not None:
        return resumed(pending, _write_down)
    ledger = front_of(chain, record.ledger)
    info = await ledger.read("getServiceInfo", await ledger.read("getServiceAddressByName", name))
    if info["fullName"] != name:
        raise PlanRefused(
            f"No service called {name} is registered.", next_step=f"serving registry list --network {record.network}"
        )
    if info["isRecommended"]:
        raise PlanRefused(
            f"{name} is already the recommended version of {info['serviceType']}.", next_step="There is nothing to do."
        )
    return await _plan(chain, record, "recommend", name, sender, recommend_step(info["serviceType"], info["version"]))


async def _plan(chain: AsyncConnection, record: Record, what: What, name: str, sender: str, step: Step) -> Plan:
    front = record.ledger.front.address
    owner = await front_of(chain, record.ledger).read("owner")
    if owner != sender:
        raise NotTheOwner(
            f"The ledger belongs to {owner}, not to {sender}.",
            owner=owner,
            next_step=f"Run this with the key of {owner}.",
        )
    questions = {
        "The owner of ledger": getter("LedgerManager", front, "owner"),
        f"The registered address of {name}": getter("LedgerManager", front, "getServiceAddressByName", name),
        f"The recommended {step.arguments[0]}": getter(
            "LedgerManager", front, "getRecommendedService", step.arguments[0]
        ),
    }
    return Plan(
        what=what,
        subject=name,
        sender=sender,
        steps=(step,),
        write_down=_write_down,
        assumptions=tuple([await Assumption.now(chain, says, ask) for says, ask in questions.items()]),
    )


async def _write_down(_: AsyncConnection, record: Record, finished: Sequence[Step]) -> None:
    note_registrations(record, finished)


async def plan_migration(chain: AsyncConnection, record: Record, left: str, entered: str) -> list[Move]:
    """How much of whom is with which provider of the version to leave, largest first, then providers without users.

    Coins cannot be moved for users: each of them retrieves them, which takes the lock time, and funds a provider of the
    next version. Raises PlanRefused for versions of different services.
    """
    await check_chain(chain, record)
    old, new = record.contract(left), record.contract(entered)
    if old.implementation.contract != new.implementation.contract:
        raise PlanRefused(
            f"{left} and {entered} are not versions of the same service.",
            next_step=f"serving registry list --network {record.network}",
        )
    block = await chain.block_number()
    service = front_of(chain, old)
    moved = {one["provider"] for one in await registered_providers(front_of(chain, new), block=block)}
    lock_time = await service.read("lockTime", block=block)
    moves = []
    accounts = await service.listing("getAllAccounts", block=block)
    for one in sorted(accounts, key=lambda account: (-int(account["balance"]), account["user"])):
        unlocks_at = None
        if one["pendingRefund"]:
            account = await service.read("getAccount", one["user"], one["provider"], block=block)
            unlocks_at = _last_unlock(account, lock_time)
        moves.append(
            Move(
                one["user"], one["provider"], one["balance"], one["pendingRefund"], unlocks_at, one["provider"] in moved
            )
        )
    used = {one.provider for one in moves}
    registered = [one["provider"] for one in await registered_providers(service, block=block)]
    return moves + [Move(None, one, 0, 0, None, one in moved) for one in registered if one not in used]


def _last_unlock(account: dict[str, Any], lock_time: int) -> int | None:
    active = account["refunds"][: account["validRefundsLength"]]
    return max((int(refund["createdAt"]) + lock_time for refund in active), default=None)
