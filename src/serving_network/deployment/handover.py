"""Give ownership away: of upgrades and of the business, separately, in one step or two.

One step is what the live network has: the new owner owns at once, and a wrong address owns for ever. In two steps
ownership is offered and stays where it is until the new owner has accepted, which proves that they can send
transactions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.sender import Fees
from serving_network.contracts import load
from serving_network.deployment.books import read_providers
from serving_network.deployment.calls import call_data
from serving_network.deployment.chain_copy import on_a_copy, send_as
from serving_network.deployment.deploy import Done
from serving_network.deployment.effects import ZERO, read
from serving_network.deployment.engine import Engine, Progress, check_ready
from serving_network.deployment.errors import NotTheOwner, PlanRefused, RehearsalFailed
from serving_network.deployment.record import Instruction, Pending, Record, RecordFile, Step
from serving_network.deployment.steps import CALL_GAS, known_addresses, resolve
from serving_network.errors import ContractError, NotAnAddress, ServingError
from serving_network.signing import Signer

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
    """One thing that an owner can do, tried as the old owner on a copy. `refusal` is what the contract said; None if
    it still let the old owner do it."""

    name: str
    says: str
    refusal: str | None


async def ownerships(chain: AsyncConnection, record: Record) -> list[Ownership]:
    """Who owns what, asked of the chain."""
    return [await _ownership(chain, record, name, kind) for name in record.contracts for kind in KINDS]


async def plan_handover(
    chain: AsyncConnection,
    record: Record,
    sender: str,
    to: str,
    *,
    kinds: Sequence[Kind] = KINDS,
    names: Sequence[str] = (),
    two_steps: bool,
) -> list[Step]:
    """The calls with which `sender` gives `to` the chosen ownerships, of all contracts where none is named.

    What `to` owns already is left out. Raises NotTheOwner naming who owns what the sender does not, NotAnAddress
    for nobody, and PlanRefused when nothing is left to be done.
    """
    await check_ready(chain, record, "handover", record.network)
    if to == ZERO:
        raise NotAnAddress("The zero address cannot own anything.", next_step="Give the new owner's address.")
    steps = []
    for name in names or list(record.contracts):
        for kind in kinds:
            now = await _ownership(chain, record, name, kind)
            if now.owner == to or (two_steps and now.offered_to == to):
                continue
            if now.owner != sender:
                raise NotTheOwner(
                    f"{_what(kind)} of {name} belongs to {now.owner}, not to {sender}.",
                    owner=now.owner,
                    next_step=f"Run this with the key of {now.owner}, or leave {name} out.",
                )
            steps.append(
                _step(
                    record,
                    name,
                    kind,
                    "offerOwnership" if two_steps else "transferOwnership",
                    [to],
                    f"{'offer' if two_steps else 'give'} {_what(kind).lower()} of {name} to {to}",
                )
            )
    if not steps:
        raise PlanRefused(
            f"{to} already owns all of it, or it is offered to them.",
            next_step=f"serving handover show --network {record.network}",
        )
    return steps


async def plan_acceptance(chain: AsyncConnection, record: Record, sender: str) -> list[Step]:
    """The calls with which `sender` takes over everything that is offered to it. Raises PlanRefused for nothing."""
    await check_ready(chain, record, "accept", record.network)
    steps = [
        _step(record, one.name, one.kind, "acceptOwnership", [], f"accept {_what(one.kind).lower()} of {one.name}")
        for one in await ownerships(chain, record)
        if one.offered_to == sender
    ]
    if not steps:
        raise PlanRefused(
            f"Nothing is offered to {sender}.", next_step=f"serving handover show --network {record.network}"
        )
    return steps


async def apply_handover(
    chain: AsyncConnection,
    account: Signer,
    file: RecordFile,
    to: str,
    *,
    kinds: Sequence[Kind] = KINDS,
    names: Sequence[str] = (),
    two_steps: bool,
    confirmations: int = 1,
    timeout: float = 300,
    fees: Fees | None = None,
    progress: Progress | None = None,
) -> Done:
    """Hand over, or go on with it, and write down who owns what.

    Where ownership is offered to somebody without a key here, what they have to accept becomes an instruction.
    Raises what planning and `Engine.run` raise; calling it again goes on where it stopped.
    """
    with file.locked():
        record = file.record
        if record.pending is None:
            steps = await plan_handover(
                chain, record, account.address, to, kinds=kinds, names=names, two_steps=two_steps
            )
            record.pending = Pending(what="handover", sender=account.address, subject=record.network, steps=steps)
            file.save()
        else:
            await check_ready(chain, record, "handover", record.network)
            _check_same_heir(record.pending, to)
        done = await Engine(
            chain, account, file, confirmations=confirmations, timeout=timeout, fees=fees, progress=progress
        ).run()
        for step in done.steps:
            if step.function == "offerOwnership":
                record.instruct(_acceptance(record, step))
        return await _write_down(chain, file, done)


async def apply_acceptance(
    chain: AsyncConnection,
    account: Signer,
    file: RecordFile,
    *,
    confirmations: int = 1,
    timeout: float = 300,
    fees: Fees | None = None,
    progress: Progress | None = None,
) -> Done:
    """Accept everything that is offered to the account, or go on with it, and write down who owns what."""
    with file.locked():
        record = file.record
        if record.pending is None:
            steps = await plan_acceptance(chain, record, account.address)
            record.pending = Pending(what="accept", sender=account.address, subject=record.network, steps=steps)
            file.save()
        else:
            await check_ready(chain, record, "accept", record.network)
        done = await Engine(
            chain, account, file, confirmations=confirmations, timeout=timeout, fees=fees, progress=progress
        ).run()
        return await _write_down(chain, file, done)


async def rehearse_handover(chain: AsyncConnection, record: Record, steps: Sequence[Step], sender: str) -> list[Power]:
    """Hand over on a copy, then try as the old owner everything that its ownership allowed.

    Raises RehearsalFailed when a step fails or the new owner cannot act either.
    """
    to = str(steps[0].arguments[0])

    async def work(copy: AsyncConnection) -> list[Power]:
        addresses = known_addresses(record)
        powers = []
        for step in steps:
            address = resolve(str(step.to), addresses)
            await _send(copy, sender, address, step.contract, str(step.function), [to])
            if step.function == "offerOwnership":
                await _send(copy, to, address, step.contract, "acceptOwnership", [])
        for step in steps:
            name, kind = _subject(step)
            address = resolve(str(step.to), addresses)
            for says, function, arguments in await _powers(copy, record, name, kind, sender):
                await _must_be_allowed(copy, to, address, step.contract, function, arguments)
                powers.append(
                    Power(name, says, await _refusal(copy, sender, address, step.contract, function, arguments))
                )
        return powers

    return await on_a_copy(chain, await chain.block_number(), work)


def _check_same_heir(pending: Pending, to: str) -> None:
    begun = pending.steps[0].arguments[0]
    if begun != to:
        raise PlanRefused(
            f"A handover to {begun} is not finished.", next_step=f"serving handover apply {begun}, then this one."
        )


async def _ownership(chain: AsyncConnection, record: Record, name: str, kind: Kind) -> Ownership:
    contract, address = _owned(record, name, kind)
    offered = await read(chain, contract, address, "pendingOwner")
    return Ownership(name, kind, await read(chain, contract, address, "owner"), None if offered == ZERO else offered)


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


def _acceptance(record: Record, step: Step) -> Instruction:
    name, kind = _subject(step)
    data = "0x" + call_data(load(step.contract), "acceptOwnership", []).hex()
    return Instruction(
        id=f"{name}/{kind}-acceptOwnership",
        says=f"accept {_what(kind).lower()} of {name}",
        sender=str(step.arguments[0]),
        to=_owned(record, name, kind)[1],
        contract=step.contract,
        function="acceptOwnership",
        arguments=[],
        data=data,
        subject=name,
    )


async def _write_down(chain: AsyncConnection, file: RecordFile, done: Pending) -> Done:
    for one in await ownerships(chain, file.record):
        contract = file.record.contract(one.name)
        if one.kind == "upgrade":
            contract.upgrade_owner = one.owner
        else:
            contract.owner = one.owner
    block = await chain.block_number()
    for instruction in file.record.open_instructions:
        name, kind = instruction.subject, "upgrade" if instruction.contract == BEACON else "business"
        contract = file.record.contract(name)
        owner = contract.upgrade_owner if kind == "upgrade" else contract.owner
        if instruction.function == "acceptOwnership" and owner == instruction.sender:
            instruction.done_in = block
    file.record.pending = None
    file.save()
    return Done(tuple(done.steps), tuple(file.record.open_instructions))


async def _powers(
    copy: AsyncConnection, record: Record, name: str, kind: Kind, stranger: str
) -> list[tuple[str, str, list[str]]]:
    """What this ownership allows: in words, the function, and arguments with which its owner would succeed."""
    contract = record.contract(name)
    if kind == "upgrade":
        return [
            ("replace the implementation", "upgradeTo", [contract.implementation.address]),
            ("detach or attach the front", "attach", [contract.front.address]),
            ("give upgrades away", "transferOwnership", [stranger]),
        ]
    powers: list[tuple[str, str, list[str]]] = [("give the contract away", "transferOwnership", [stranger])]
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
    for provider in (await read_providers(copy, contract, "latest"))[:1]:
        powers += [
            ("confirm a provider's TEE signer", "acknowledgeTEESignerByOwner", [provider["provider"]]),
            ("take a confirmation back", "revokeTEESignerAcknowledgement", [provider["provider"]]),
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
            next_step="Nothing was sent; correct the plan.",
        ) from error


async def _must_be_allowed(
    copy: AsyncConnection, owner: str, address: str, contract: str, function: str, arguments: list[str]
) -> None:
    try:
        await copy.call(address, call_data(load(contract), function, arguments), sender=owner)
    except ContractError as error:
        raise RehearsalFailed(
            f"The new owner {owner} could not call {function}: {error}", next_step="Nothing was sent; correct the plan."
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
    return "Upgrading" if kind == "upgrade" else "Ownership"
