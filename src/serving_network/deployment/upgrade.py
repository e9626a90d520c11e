# SPDX-License-Identifier: Apache-2.0
"""Put another implementation behind a front, or the former one back.

Refused before anything is sent: a layout that would misread a stored word, a beacon or front that is not ours, an
implementation on chain that is not the recorded one. Where the upgrade owner is somebody else, only the
implementation is deployed, and the call that is left becomes an instruction for them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.sender import Fees
from serving_network.contracts import load
from serving_network.deployment.bytecode import artifact_hash, beacon_of, code_hash, code_problem, implementation_of
from serving_network.deployment.calls import call_data, constructor_inputs, named
from serving_network.deployment.deploy import Done, deployed_implementation
from serving_network.deployment.effects import read
from serving_network.deployment.engine import Engine, Progress, check_ready
from serving_network.deployment.errors import ForeignProxy, LayoutRefused, NotAsRecorded, PlanRefused
from serving_network.deployment.layout import Layout, compare
from serving_network.deployment.record import Contract, Implementation, Instruction, Pending, Record, RecordFile, Step
from serving_network.deployment.steps import CALL_GAS, foreign_call, implementation_step, known_addresses
from serving_network.signing import Signer

BEACON = "UpgradeableBeacon"


@dataclass(frozen=True)
class UpgradePlan:
    """`steps` are the sender's. Where `foreign_owner` is set the last call is theirs and not among the steps.
    `appended` are the variables and bits that the new layout adds."""

    name: str
    steps: tuple[Step, ...]
    call: Step
    foreign_owner: str | None
    appended: tuple[str, ...]


async def plan_upgrade(
    chain: AsyncConnection,
    record: Record,
    name: str,
    sender: str,
    *,
    arguments: Mapping[str, str] | None = None,
    renames: Mapping[str, str] | None = None,
) -> UpgradePlan:
    """What replacing the implementation of `name` by the one in this package takes. Sends nothing.

    Constructor arguments stay as recorded unless `arguments` gives others by name. Raises LayoutRefused,
    ForeignProxy, NotAsRecorded, WrongChain, and PlanRefused when there is nothing to replace or other work is under
    way.
    """
    await check_ready(chain, record, "upgrade", name)
    contract = record.contract(name)
    await check_ours(chain, contract)
    kind = contract.implementation.contract
    old, new = contract.implementation, load(kind)
    before, after = Layout.from_artifact(old.storage_layout), Layout.from_artifact(new.storage_layout)
    if refusals := compare(before, after, renames):
        raise LayoutRefused(kind, refusals)
    values = _arguments(old, arguments or {})
    if artifact_hash(kind) == old.artifact_hash and list(values.values()) == list(old.arguments.values()):
        raise PlanRefused(f"{name} already runs this build of {kind}.", next_step="Nothing is to be done.")
    create = implementation_step(name, kind, list(values.values()))
    create.artifact_hash = artifact_hash(kind)
    call = _upgrade_call(name, f"@{name}/implementation", f"let {name} run the new implementation")
    return _plan(contract, name, sender, (create,), call, _appended(before, after))


async def plan_rollback(chain: AsyncConnection, record: Record, name: str, sender: str) -> UpgradePlan:
    """What putting the former implementation of `name` back takes. Sends nothing.

    What the present implementation has appended to the storage stays there, unread. Raises what `plan_upgrade` raises,
    and PlanRefused when there is no former implementation.
    """
    await check_ready(chain, record, "rollback", name)
    contract = record.contract(name)
    await check_ours(chain, contract)
    if not contract.former:
        raise PlanRefused(f"{name} has no former implementation.", next_step="Nothing is to be done.")
    former = contract.former[-1]
    before = Layout.from_artifact(former.storage_layout)
    after = Layout.from_artifact(contract.implementation.storage_layout)
    if compare(before, after) and (refusals := compare(after, before)):
        raise LayoutRefused(former.contract, refusals)
    if code_hash(await chain.code(former.address)) != former.code_hash:
        raise NotAsRecorded(
            [f"the former implementation at {former.address} has other code"],
            next_step=f"serving deploy check --network {record.network}",
        )
    call = _upgrade_call(name, former.address, f"let {name} run its former implementation again")
    return _plan(contract, name, sender, (), call, ())


async def apply_upgrade(
    chain: AsyncConnection,
    account: Signer,
    file: RecordFile,
    name: str,
    *,
    rollback: bool = False,
    arguments: Mapping[str, str] | None = None,
    renames: Mapping[str, str] | None = None,
    confirmations: int = 1,
    estimate: bool = True,
    timeout: float = 300,
    fees: Fees | None = None,
    progress: Progress | None = None,
) -> Done:
    """Do it, or go on with it, and write the record; with a foreign upgrade owner as far as the sender may.

    `timeout` is in seconds and for one step. Raises what planning and `Engine.run` raise; calling it again goes on
    where it stopped.
    """
    what = "rollback" if rollback else "upgrade"
    with file.locked():
        record = file.record
        if record.pending is None:
            plan = (
                await plan_rollback(chain, record, name, account.address)
                if rollback
                else await plan_upgrade(chain, record, name, account.address, arguments=arguments, renames=renames)
            )
            record.pending = Pending(
                what="rollback" if rollback else "upgrade", sender=account.address, subject=name, steps=list(plan.steps)
            )
            file.save()
        else:
            await check_ready(chain, record, what, name)
        done = await Engine(
            chain,
            account,
            file,
            confirmations=confirmations,
            estimate=estimate,
            timeout=timeout,
            fees=fees,
            progress=progress,
        ).run()
        return await _write_down(chain, file, done)


async def check_ours(chain: AsyncConnection, contract: Contract) -> None:
    """Make sure that front, beacon and implementation on chain are ours and the recorded ones.

    The live network's contracts store their state otherwise: our implementation behind one of its beacons would
    misread every balance. Raises ForeignProxy and NotAsRecorded.
    """
    await check_beacon(chain, contract.front.address, contract.beacon.address)
    running = await read(chain, BEACON, contract.beacon.address, "implementation")
    if running != contract.implementation.address:
        raise NotAsRecorded(
            [f"the beacon runs {running}, the record says {contract.implementation.address}"],
            next_step="serving upgrade status",
        )
    code = await chain.code(running)
    if code_hash(code) != contract.implementation.code_hash:
        raise NotAsRecorded(
            [f"the implementation at {running} has other code than recorded"],
            next_step="Stop: find out who wrote the record, and which chain the node serves.",
        )
    recorded_as_ours = contract.implementation.artifact_hash and contract.implementation.storage_layout
    if not recorded_as_ours and implementation_of(code) is None:
        raise ForeignProxy(
            f"The implementation at {running} was not built by this project.",
            cause="Its storage is laid out otherwise.",
            next_step="Deploy a new version beside it.",
        )


async def check_beacon(chain: AsyncConnection, front: str, beacon: str) -> None:
    """Make sure that these two are a front and a beacon of ours that belong together. Raises ForeignProxy."""
    next_step = "Deploy a new version beside it: serving deploy plan"
    cause = "Contracts of the live network keep their storage in another layout; ours would misread every balance."
    inside = beacon_of(await chain.code(front))
    if inside is None:
        raise ForeignProxy(f"{front} is not a front that this project built.", cause=cause, next_step=next_step)
    if "0x" + inside.hex() != beacon.lower():
        raise ForeignProxy(
            f"The front {front} looks to another beacon, 0x{inside.hex()}.", cause=cause, next_step=next_step
        )
    if (problem := code_problem(BEACON, await chain.code(beacon))) is not None:
        raise ForeignProxy(f"The beacon {beacon} {problem}.", cause=cause, next_step=next_step)


def _plan(
    contract: Contract, name: str, sender: str, steps: tuple[Step, ...], call: Step, appended: tuple[str, ...]
) -> UpgradePlan:
    mine = contract.upgrade_owner == sender
    return UpgradePlan(
        name, (*steps, call) if mine else steps, call, None if mine else contract.upgrade_owner, appended
    )


def _upgrade_call(name: str, implementation: str, says: str) -> Step:
    return Step(
        id=f"{name}/upgrade",
        says=says,
        action="call",
        contract=BEACON,
        function="upgradeTo",
        to=f"@{name}/beacon",
        arguments=[implementation],
        gas=CALL_GAS,
    )


def _arguments(old: Implementation, given: Mapping[str, str]) -> dict[str, str]:
    inputs = constructor_inputs(load(old.contract))
    names = [one["name"].strip("_") for one in inputs]
    if unknown := set(given) - set(names):
        raise PlanRefused(
            f"{old.contract} is not built with {', '.join(sorted(unknown))}.",
            next_step=f"It takes: {', '.join(names)}.",
        )
    values = {**old.arguments, **given}
    if missing := [one for one in names if one not in values]:
        raise PlanRefused(
            f"The new {old.contract} also needs {', '.join(missing)}.", next_step=f"Give --argument {missing[0]}=VALUE."
        )
    return named(inputs, [values[one] for one in names])


def _appended(before: Layout, after: Layout) -> tuple[str, ...]:
    known = {one.name for one in before.variables}
    variables = [one.name for one in after.variables if one.name not in known]
    bits = [
        f"{word}.{field}"
        for word, fields in after.packed.items()
        for field, _ in fields[len(before.packed.get(word, fields)) :]
    ]
    return (*variables, *bits)


async def _write_down(chain: AsyncConnection, file: RecordFile, done: Pending) -> Done:
    record, name = file.record, done.subject
    contract = record.contract(name)
    addresses = known_addresses(record)
    created = next((step for step in done.steps if step.action == "create"), None)
    if created is not None:
        contract.prepared = await deployed_implementation(
            chain, created, addresses, replaced=contract.implementation.address
        )
    elif done.what == "rollback":
        contract.prepared = contract.former[-1]
    if any(step.function == "upgradeTo" for step in done.steps):
        take_over(contract)
    elif contract.prepared is not None:
        record.instruct(_instruction(record, name, contract.prepared.address))
    record.pending = None
    file.save()
    return Done(tuple(done.steps), tuple(one for one in record.instructions if one.done_in is None))


def _instruction(record: Record, name: str, implementation: str) -> Instruction:
    contract = record.contract(name)
    call = _upgrade_call(name, implementation, f"let {name} run the implementation at {implementation}")
    data = "0x" + call_data(load(BEACON), "upgradeTo", [implementation]).hex()
    return foreign_call(call, contract.upgrade_owner, known_addresses(record), data, name)


def take_over(contract: Contract) -> None:
    """Write down that the prepared implementation runs now."""
    prepared = contract.prepared
    if prepared is None:
        raise ValueError("no implementation is prepared")
    contract.former = [*(one for one in contract.former if one.address != prepared.address), contract.implementation]
    contract.implementation = prepared
    contract.prepared = None
