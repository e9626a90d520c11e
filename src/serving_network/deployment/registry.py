# SPDX-License-Identifier: Apache-2.0
"""The services that the ledger knows, how much is in each, and how users get from one version to the next."""

from dataclasses import dataclass
from typing import Any

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.sender import Fees
from serving_network.deployment.books import read_all, read_books, read_providers
from serving_network.deployment.deploy import Done, recommend
from serving_network.deployment.effects import read
from serving_network.deployment.engine import Engine, Progress, check_chain, check_ready
from serving_network.deployment.errors import NotTheOwner, PlanRefused
from serving_network.deployment.record import Pending, Record, RecordFile, Step
from serving_network.deployment.steps import CALL_GAS
from serving_network.signing import Signer

LEDGER = "LedgerManager"


@dataclass(frozen=True)
class Listed:
    """One registered service. Where the record does not know it, it was built by others and only `holds` is known.
    Amounts in wei."""

    name: str
    type: str
    version: str
    address: str
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
    """What one user has with one provider in the version that is left. Amounts in wei, times in unix seconds.

    `unlocks_at` is when the last of the money asked back can be had, None while nothing was asked back;
    `provider_has_moved` says whether the provider is registered in the next version.
    """

    user: str
    provider: str
    balance: int
    pending: int
    unlocks_at: int | None
    provider_has_moved: bool

    @property
    def steps(self) -> tuple[str, ...]:
        """What the user has to do, in order."""
        ask = () if self.pending == self.balance else ("retrieve",)
        wait = () if self.balance == 0 else ("wait for the lock time", "retrieve again")
        return (
            *ask,
            *wait,
            "fund the provider in the next version"
            if self.provider_has_moved
            else "choose a provider of the next version",
        )


async def list_services(chain: AsyncConnection, record: Record) -> list[Listed]:
    """Every service that the ledger knows, recorded or not, in the order of their registration."""
    await check_chain(chain, record)
    block = await chain.block_number()
    books = {one.address: one for one in (await read_books(chain, record, block)).services}
    infos = await read_all(chain, LEDGER, record.ledger.front.address, "getActiveServices", block)
    found = []
    for info in infos:
        ours = books.get(info["serviceAddress"])
        found.append(
            Listed(
                name=info["fullName"],
                type=info["serviceType"],
                version=info["version"],
                address=info["serviceAddress"],
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


async def plan_recommendation(chain: AsyncConnection, record: Record, name: str, sender: str) -> Step:
    """The call that makes a registered version the recommended one. Raises NotTheOwner and PlanRefused."""
    await check_ready(chain, record, "recommend", name)
    ledger = record.ledger.front.address
    address = await read(chain, LEDGER, ledger, "getServiceAddressByName", name)
    info = await read(chain, LEDGER, ledger, "getServiceInfo", address)
    if info["fullName"] != name:
        raise PlanRefused(
            f"No service called {name} is registered.", next_step=f"serving registry list --network {record.network}"
        )
    if info["isRecommended"] and record.pending is None:
        raise PlanRefused(
            f"{name} is the recommended {info['serviceType']} already.", next_step="Nothing is to be done."
        )
    owner = await read(chain, LEDGER, ledger, "owner")
    if owner != sender:
        raise NotTheOwner(
            f"The ledger belongs to {owner}, not to {sender}.",
            owner=owner,
            next_step=f"Run this with the key of {owner}.",
        )
    return Step(
        id=f"{name}/recommend",
        says=f"make {info['version']} the recommended {info['serviceType']}",
        action="call",
        contract=LEDGER,
        function="setRecommendedService",
        to="@ledger/front",
        arguments=[info["serviceType"], info["version"]],
        gas=CALL_GAS,
    )


async def apply_recommendation(
    chain: AsyncConnection,
    account: Signer,
    file: RecordFile,
    name: str,
    *,
    confirmations: int = 1,
    timeout: float = 300,
    fees: Fees | None = None,
    progress: Progress | None = None,
) -> Done:
    """Recommend a version, or go on with it, and write it down."""
    with file.locked():
        record = file.record
        step = await plan_recommendation(chain, record, name, account.address)
        if record.pending is None:
            record.pending = Pending(what="recommend", sender=account.address, subject=name, steps=[step])
            file.save()
        done = await Engine(
            chain, account, file, confirmations=confirmations, timeout=timeout, fees=fees, progress=progress
        ).run()
        recommend(record, str(step.arguments[0]), str(step.arguments[1]))
        record.pending = None
        file.save()
        return Done(tuple(done.steps), tuple(record.open_instructions))


async def plan_migration(chain: AsyncConnection, record: Record, left: str, entered: str) -> list[Move]:
    """How much of whom is with which provider of the version that is left, largest first.

    Money cannot be moved for users: each of them retrieves it, which takes the lock time, and funds a provider of the
    next version. Raises PlanRefused for two versions of different types.
    """
    await check_chain(chain, record)
    old, new = record.contract(left), record.contract(entered)
    if old.implementation.contract != new.implementation.contract:
        raise PlanRefused(
            f"{left} and {entered} are not versions of the same service.",
            next_step=f"serving registry list --network {record.network}",
        )
    block = await chain.block_number()
    kind, front = old.implementation.contract, old.front.address
    moved = {one["provider"] for one in await read_providers(chain, new, block)}
    lock_time = await read(chain, kind, front, "lockTime", block=block)
    accounts = await read_all(chain, kind, front, "getAllAccounts", block)
    moves = []
    for one in sorted(accounts, key=lambda account: (-int(account["balance"]), account["user"])):
        unlocks_at = None
        if one["pendingRefund"]:
            account = await read(chain, kind, front, "getAccount", one["user"], one["provider"], block=block)
            unlocks_at = _last_unlock(account, lock_time)
        moves.append(
            Move(
                one["user"], one["provider"], one["balance"], one["pendingRefund"], unlocks_at, one["provider"] in moved
            )
        )
    return moves


def _last_unlock(account: dict[str, Any], lock_time: int) -> int | None:
    active = account["refunds"][: account["validRefundsLength"]]
    return max((int(refund["createdAt"]) + lock_time for refund in active), default=None)
