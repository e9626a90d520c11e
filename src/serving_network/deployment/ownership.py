# SPDX-License-Identifier: Apache-2.0
"""Transfer ownership of the business and of the upgrades of contracts, in one step or two, or renounce it.

A transfer in one step takes effect at once; a wrong address owns the contract permanently. In two steps ownership is
offered, and does not change until the new owner accepts, which proves that they can send transactions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.contract import Contract
from serving_network.clients.read.providers import registered_providers
from serving_network.contracts import load
from serving_network.contracts.models import ZERO_ADDRESS
from serving_network.contracts.reverts import RevertedWithoutReason
from serving_network.deployment.calls import call_data, instruction_for
from serving_network.deployment.chain_copy import on_a_copy, send_as
from serving_network.deployment.effects import has_happened
from serving_network.deployment.errors import NotTheOwner, PlanRefused, RehearsalFailed
from serving_network.deployment.plan import Assumption, Plan, check_ready, getter, resumed
from serving_network.deployment.record import Instruction, Pending, Record, Step, What
from serving_network.deployment.steps import CALL_GAS, known_addresses, resolve
from serving_network.errors import ContractError, NotAnAddress, ServingError

BEACON = "UpgradeableBeacon"

Kind = Literal["business", "upgrade"]
KINDS: tuple[Kind, Kind] = ("business", "upgrade")


@dataclass(frozen=True)
class Ownership:
    """Who owns one contract in one way; `offered_to` is who may take it over, None when nobody may."""

    name: str
    kind: Kind
    owner: str
    offered_to: str | None


@dataclass(frozen=True)
class Power:
    """One thing that an owner can do, tried as the old owner on a copy. `refusal` is the contract's error; None if
    it still let the old owner do it."""

    name: str
    says: str
    refusal: str | None


async def ownerships(chain: AsyncConnection, record: Record) -> list[Ownership]:
    """Who owns each contract, according to the chain."""
    return [await _ownership(chain, record, name, kind) for name in record.contracts for kind in KINDS]


async def read_ownership(contract: Contract, name: str, kind: Kind) -> Ownership:
    """Who owns a contract in one way. The live network's contracts cannot be offered, and lack the getter for it."""
    owner = await contract.read("owner")
    try:
        offered_to = await contract.read("pendingOwner")
    except RevertedWithoutReason:
        offered_to = ZERO_ADDRESS
    return Ownership(name, kind, owner, None if offered_to == ZERO_ADDRESS else offered_to)


async def plan_transfer(
    chain: AsyncConnection,
    record: Record,
    sender: str,
    to: str,
    *,
    kinds: Sequence[Kind] = KINDS,
    names: Sequence[str] = (),
    two_steps: bool,
) -> Plan:
    """The calls with which `sender` transfers the chosen ownerships to `to`, of all contracts if none is named.

    What `to` owns already is left out. Where ownership is offered, accepting it becomes an instruction for `to`. Raises
    NotTheOwner naming who owns what the sender does not, NotAnAddress for the zero address, and PlanRefused if nothing
    is left to do, or if a transfer to somebody else, or an offer instead of a transfer, is unfinished.
    """
    pending = await check_ready(chain, record, "handover", record.network)
    if pending is not None:
        return _resumed_transfer(record, pending, to, "offerOwnership" if two_steps else "transferOwnership")
    if to == ZERO_ADDRESS:
        raise NotAnAddress("The zero address cannot own a contract.", next_step="Give the new owner's address.")
    steps, found = [], []
    for name in names or list(record.contracts):
        for kind in kinds:
            now = await _ownership(chain, record, name, kind)
            if now.owner == to or (two_steps and now.offered_to == to):
                continue
            _check_owner(now, sender)
            function = "offerOwnership" if two_steps else "transferOwnership"
            says = f"{'offer' if two_steps else 'transfer'} {_what(kind)} of {name} to {to}"
            steps.append(_step(record, name, kind, function, [to], says))
            found.append(now)
    if not steps:
        raise PlanRefused(
            f"{to} already owns all of this, or it is offered to them.",
            next_step=f"serving ownership show --network {record.network}",
        )
    return await _plan(chain, record, "handover", record.network, sender, steps, found)


async def plan_acceptance(chain: AsyncConnection, record: Record, sender: str, *, names: Sequence[str] = ()) -> Plan:
    """The calls with which `sender` accepts what it is offered, of all contracts if none is named.

    Raises PlanRefused if nothing is offered.
    """
    pending = await check_ready(chain, record, "accept", record.network)
    if pending is not None:
        return resumed(pending, _write_down)
    offered = [
        one for one in await ownerships(chain, record) if one.offered_to == sender and (not names or one.name in names)
    ]
    steps = [
        _step(record, one.name, one.kind, "acceptOwnership", [], f"accept {_what(one.kind)} of {one.name}")
        for one in offered
    ]
    if not steps:
        raise PlanRefused(
            f"Nothing is offered to {sender}.", next_step=f"serving ownership show --network {record.network}"
        )
    return await _plan(chain, record, "accept", record.network, sender, steps, offered)


async def plan_renunciation(chain: AsyncConnection, record: Record, sender: str, name: str) -> Plan:
    """The call with which `sender` leaves the business of one contract without an owner, permanently.

    Raises NotTheOwner.
    """
    pending = await check_ready(chain, record, "renounce", name)
    if pending is not None:
        return resumed(pending, _write_down)
    now = await _ownership(chain, record, name, "business")
    _check_owner(now, sender)
    step = _step(record, name, "business", "renounceOwnership", [], f"leave {name} without an owner permanently")
    return await _plan(chain, record, "renounce", name, sender, [step], [now])


async def rehearse_transfer(chain: AsyncConnection, record: Record, plan: Plan) -> list[Power]:
    """Transfer on a copy of the chain, then try as the old owner everything that the ownership allowed.

    Raises RehearsalFailed if a step fails, or if the new owner cannot act either.
    """
    to, sender = str(plan.steps[0].arguments[0]), plan.sender

    async def work(copy: AsyncConnection) -> list[Power]:
        addresses = known_addresses(record)
        powers = []
        for step in plan.steps:
            address = resolve(str(step.to), addresses)
            if not await has_happened(copy, step.contract, address, str(step.function), [to], sender):
                await _send(copy, sender, address, step.contract, str(step.function), [to])
            if step.function == "offerOwnership":
                await _send(copy, to, address, step.contract, "acceptOwnership", [])
        for step in plan.steps:
            name, kind = _subject(step)
            address = resolve(str(step.to), addresses)
            for says, function, arguments in await _powers(copy, record, name, kind, sender):
                await _must_be_allowed(copy, to, address, step.contract, function, arguments)
                powers.append(
                    Power(name, says, await _refusal(copy, sender, address, step.contract, function, arguments))
                )
        return powers

    return await on_a_copy(chain, await chain.block_number(), work)


async def _plan(
    chain: AsyncConnection,
    record: Record,
    what: What,
    subject: str,
    sender: str,
    steps: Sequence[Step],
    ownerships: Sequence[Ownership],
) -> Plan:
    return Plan(
        what=what,
        subject=subject,
        sender=sender,
        steps=tuple(steps),
        write_down=_write_down,
        assumptions=tuple([one for now in ownerships for one in await _assumptions(chain, record, now)]),
    )


async def _assumptions(chain: AsyncConnection, record: Record, now: Ownership) -> list[Assumption]:
    contract, address = _owned(record, now.name, now.kind)
    owner = f"{'upgrade ' if now.kind == 'upgrade' else ''}owner of {now.name}"
    return [
        await Assumption.now(chain, f"The {owner}", getter(contract, address, "owner")),
        await Assumption.now(chain, f"The offered {owner}", getter(contract, address, "pendingOwner")),
    ]


def _resumed_transfer(record: Record, pending: Pending, to: str, function: str) -> Plan:
    if (pending.steps[0].arguments[0], pending.steps[0].function) != (to, function):
        raise PlanRefused(
            f"{pending.title} is not finished.",
            next_step=f"Run serving {pending.command} --network {record.network}, then run this again.",
        )
    return resumed(pending, _write_down)


def _check_owner(now: Ownership, sender: str) -> None:
    if now.owner != sender:
        raise NotTheOwner(
            f"The {'upgrade ' if now.kind == 'upgrade' else ''}owner of {now.name} is {now.owner}, not {sender}.",
            owner=now.owner,
            next_step=f"Run this with the key of {now.owner}, or leave {now.name} out.",
        )


async def _ownership(chain: AsyncConnection, record: Record, name: str, kind: Kind) -> Ownership:
    return await read_ownership(Contract(chain, *_owned(record, name, kind)), name, kind)


def _owned(record: Record, name: str, kind: Kind) -> tuple[str, str]:
    contract = record.contract(name)
    if kind == "upgrade":
        return BEACON, contract.beacon.address
    return contract.implementation.contract, contract.front.address


def _step(record: Record, name: str, kind: Kind, function: str, arguments: list[str], says: str) -> Step:
    contract, _ = _owned(record, name, kind)
    return Step(
        id=f"{name}/{kind}-{function}",
        says=says,
        action="call",
        contract=contract,
        function=function,
        to=f"@{name}/{'beacon' if kind == 'upgrade' else 'front'}",
        arguments=arguments,
        gas=CALL_GAS,
    )


def _subject(step: Step) -> tuple[str, Kind]:
    name = step.id.rpartition("/")[0]
    return name, "upgrade" if step.contract == BEACON else "business"


async def _write_down(chain: AsyncConnection, record: Record, finished: Sequence[Step]) -> None:
    """Record who owns what, instruct those who are offered something, and close what they have accepted."""
    for step in finished:
        if step.function == "offerOwnership":
            name, kind = _subject(step)
            says = f"accept {_what(kind)} of {name}"
            acceptance = _step(record, name, kind, "acceptOwnership", [], says)
            record.instruct(instruction_for(acceptance, str(step.arguments[0]), known_addresses(record), name))
    for one in await ownerships(chain, record):
        contract = record.contract(one.name)
        if one.kind == "upgrade":
            contract.upgrade_owner = one.owner
        else:
            contract.owner = one.owner
    block = await chain.block_number()
    for instruction in record.open_instructions:
        contract = record.contract(instruction.subject)
        owner = contract.upgrade_owner if instruction.contract == BEACON else contract.owner
        if instruction.function == "acceptOwnership" and owner == instruction.sender:
            instruction.done_in = block


def accepts(instruction: Instruction, offer: Ownership) -> bool:
    """Whether an instruction is to accept this offer."""
    kind = "upgrade" if instruction.contract == BEACON else "business"
    return (instruction.function, instruction.subject, kind, instruction.sender) == (
        "acceptOwnership",
        offer.name,
        offer.kind,
        offer.offered_to,
    )


async def _powers(
    copy: AsyncConnection, record: Record, name: str, kind: Kind, stranger: str
) -> list[tuple[str, str, list[str]]]:
    """What this ownership allows: a phrase, the function, and arguments with which its owner succeeds."""
    contract = record.contract(name)
    if kind == "upgrade":
        return [
            ("replace the implementation", "upgradeTo", [contract.implementation.address]),
            ("detach or attach the front", "attach", [contract.front.address]),
            ("transfer the upgrades", "transferOwnership", [stranger]),
        ]
    powers: list[tuple[str, str, list[str]]] = [("transfer the contract", "transferOwnership", [stranger])]
    if name == "ledger":
        registered = next(
            (
                one.registration
                for one in record.services.values()
                if one.registration is not None and one.registration.registered
            ),
            None,
        )
        if registered is not None:
            powers.append(
                ("choose the recommended version", "setRecommendedService", [registered.type, registered.version])
            )
        return powers
    powers.append(("change the lock time", "updateLockTime", [contract.initial["locktime"]]))
    if "penaltyPercentage" in contract.initial:
        powers.append(("change the penalty", "updatePenaltyPercentage", [contract.initial["penaltyPercentage"]]))
    for provider in (await registered_providers(Contract(copy, *_owned(record, name, kind))))[:1]:
        powers += [
            ("confirm a provider's TEE signer", "acknowledgeTEESignerByOwner", [provider["provider"]]),
            ("revoke a confirmation", "revokeTEESignerAcknowledgement", [provider["provider"]]),
        ]
    return powers


async def _send(
    copy: AsyncConnection, sender: str, address: str, contract: str, function: str, arguments: list[str]
) -> None:
    try:
        await send_as(copy, sender, address, call_data(load(contract), function, arguments))
    except ServingError as error:
        raise RehearsalFailed(
            f"{function} by {sender} would fail: {error}",
            cause=error.cause,
            next_step="Nothing was sent. Fix the plan and run again.",
        ) from error


async def _must_be_allowed(
    copy: AsyncConnection, owner: str, address: str, contract: str, function: str, arguments: list[str]
) -> None:
    try:
        await copy.call(address, call_data(load(contract), function, arguments), sender=owner)
    except ContractError as error:
        raise RehearsalFailed(
            f"The new owner {owner} could not call {function}: {error}",
            next_step="Nothing was sent. Fix the plan and run again.",
        ) from error


async def _refusal(
    copy: AsyncConnection, sender: str, address: str, contract: str, function: str, arguments: list[str]
) -> str | None:
    try:
        await copy.call(address, call_data(load(contract), function, arguments), sender=sender)
    except ContractError as error:
        return str(error)
    return None


def _what(kind: Kind) -> str:
    return "the upgrades" if kind == "upgrade" else "the ownership"
