# SPDX-License-Identifier: Apache-2.0
"""Replace the implementation behind a front, or put the former one back.

Nothing is sent if the new layout would misread a stored word, if the beacon or front was not built by this project, or
if the implementation on chain is not the recorded one. If another account owns the upgrades, only the implementation is
deployed, and the remaining call becomes an instruction for that owner.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.contract import Contract
from serving_network.contracts import load
from serving_network.deployment.bytecode import artifact_hash, beacon_of, code_hash, code_problem, implementation_of
from serving_network.deployment.calls import constructor_inputs, instruction_for, named
from serving_network.deployment.deploy import deployed_implementation
from serving_network.deployment.errors import ForeignProxy, LayoutRefused, NotAsRecorded, PlanRefused
from serving_network.deployment.layout import Layout, compare
from serving_network.deployment.plan import Assumption, Delegated, Plan, check_ready, getter, resumed
from serving_network.deployment.record import Implementation, Record, RecordedContract, Step, What
from serving_network.deployment.steps import CALL_GAS, implementation_step, known_addresses
from serving_network.money import parse_wei, whole_wei

BEACON = "UpgradeableBeacon"


async def plan_upgrade(
    chain: AsyncConnection,
    record: Record,
    name: str,
    sender: str,
    *,
    arguments: Mapping[str, str] | None = None,
    renames: Mapping[str, str] | None = None,
) -> Plan:
    """The plan that replaces the implementation of `name` by the one in this package. Sends nothing.

    Constructor arguments stay as recorded unless `arguments` gives others by name. Raises LayoutRefused,
    ForeignProxy, NotAsRecorded, WrongChain, and PlanRefused when there is nothing to replace or other work is under
    way.
    """
    contract = record.contract(name)
    if (pending := await check_ready(chain, record, "upgrade", name)) is not None:
        return resumed(pending, partial(_write_down, pending.what, name))
    await check_ours(chain, contract)
    kind = contract.implementation.contract
    old, new = contract.implementation, load(kind)
    before, after = Layout.from_artifact(old.storage_layout), Layout.from_artifact(new.storage_layout)
    if refusals := compare(before, after, renames):
        raise LayoutRefused(kind, refusals)
    values = _arguments(old, arguments or {})
    if artifact_hash(kind) == old.artifact_hash and list(values.values()) == list(old.arguments.values()):
        raise PlanRefused(f"{name} already runs this build of {kind}.", next_step="There is nothing to do.")
    create = implementation_step(name, kind, list(values.values()))
    create.artifact_hash = artifact_hash(kind)
    call = _upgrade_call(name, f"@{name}/implementation", f"let {name} run the new implementation")
    return await _plan(chain, "upgrade", contract, name, sender, (create,), call, _appended(before, after))


async def plan_rollback(chain: AsyncConnection, record: Record, name: str, sender: str) -> Plan:
    """The plan that puts the former implementation of `name` back. Sends nothing.

    What the current implementation has appended to the storage stays there, unread. Raises what `plan_upgrade` raises,
    and PlanRefused when there is no former implementation.
    """
    contract = record.contract(name)
    if (pending := await check_ready(chain, record, "rollback", name)) is not None:
        return resumed(pending, partial(_write_down, pending.what, name))
    await check_ours(chain, contract)
    if not contract.former:
        raise PlanRefused(f"{name} has no former implementation.", next_step="There is nothing to do.")
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
    return await _plan(chain, "rollback", contract, name, sender, (), call, ())


async def check_ours(chain: AsyncConnection, contract: RecordedContract) -> None:
    """Check that front, beacon and implementation on chain were built by this project and are the recorded ones.

    The live network's contracts have another storage layout: our implementation behind one of its beacons would misread
    every balance. Raises ForeignProxy and NotAsRecorded.
    """
    await check_beacon(chain, contract.front.address, contract.beacon.address)
    running = await Contract(chain, BEACON, contract.beacon.address).read("implementation")
    if running != contract.implementation.address:
        raise NotAsRecorded(
            [f"the beacon runs {running}, the record says {contract.implementation.address}"],
            next_step="serving upgrade status",
        )
    code = await chain.code(running)
    if code_hash(code) != contract.implementation.code_hash:
        raise NotAsRecorded(
            [f"the implementation at {running} has other code than recorded"],
            next_step="Find out who wrote the record, and which chain the node serves, before you continue.",
        )
    recorded_as_ours = contract.implementation.artifact_hash and contract.implementation.storage_layout
    if not recorded_as_ours and implementation_of(code) is None:
        raise ForeignProxy(
            f"The implementation at {running} was not built by this project.",
            cause="It has another storage layout.",
            next_step="Deploy a new version beside it.",
        )


async def check_beacon(chain: AsyncConnection, front: str, beacon: str) -> None:
    """Check that a front and a beacon were built by this project and belong together. Raises ForeignProxy."""
    next_step = "Deploy a new version beside it: serving deploy plan"
    cause = "Contracts of the live network have another storage layout; ours would misread every balance."
    inside = beacon_of(await chain.code(front))
    if inside is None:
        raise ForeignProxy(f"{front} is not a front that this project built.", cause=cause, next_step=next_step)
    if "0x" + inside.hex() != beacon.lower():
        raise ForeignProxy(
            f"The front {front} uses another beacon, 0x{inside.hex()}.", cause=cause, next_step=next_step
        )
    if (problem := code_problem(BEACON, await chain.code(beacon))) is not None:
        raise ForeignProxy(f"The beacon {beacon} {problem}.", cause=cause, next_step=next_step)


def upgrade_call(plan: Plan) -> Step:
    """The call that replaces the implementation, by the sender of the plan or by another upgrade owner."""
    return next(step for step in (*plan.steps, *(one.step for one in plan.delegated)) if step.function == "upgradeTo")


async def _plan(
    chain: AsyncConnection,
    what: Literal["upgrade", "rollback"],
    contract: RecordedContract,
    name: str,
    sender: str,
    creations: tuple[Step, ...],
    call: Step,
    appended: tuple[str, ...],
) -> Plan:
    mine = contract.upgrade_owner == sender
    beacon = contract.beacon.address
    return Plan(
        what=what,
        subject=name,
        sender=sender,
        steps=(*creations, call) if mine else creations,
        write_down=partial(_write_down, what, name),
        delegated=() if mine else (Delegated(contract.upgrade_owner, call),),
        appended=appended,
        assumptions=(
            await Assumption.now(chain, f"The implementation of {name}", getter(BEACON, beacon, "implementation")),
            await Assumption.now(chain, f"The upgrade owner of {name}", getter(BEACON, beacon, "owner")),
        ),
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
    values = {**old.arguments, **{name: _in_wei(value) for name, value in given.items()}}
    if missing := [one for one in names if one not in values]:
        raise PlanRefused(
            f"The new {old.contract} also needs {', '.join(missing)}.", next_step=f"Give --argument {missing[0]}=VALUE."
        )
    return named(inputs, [values[one] for one in names])


def _in_wei(value: str) -> str:
    """A constructor argument as whole wei: all are amounts. Raises NotAnAmount."""
    return str(whole_wei(int(value) if value.isdecimal() and value.isascii() else parse_wei(value)))


def _appended(before: Layout, after: Layout) -> tuple[str, ...]:
    known = {one.name for one in before.variables}
    variables = [one.name for one in after.variables if one.name not in known]
    bits = [
        f"{word}.{field}"
        for word, fields in after.packed.items()
        for field, _ in fields[len(before.packed.get(word, fields)) :]
    ]
    return (*variables, *bits)


async def _write_down(what: What, name: str, chain: AsyncConnection, record: Record, finished: Sequence[Step]) -> None:
    contract = record.contract(name)
    addresses = known_addresses(record)
    created = next((step for step in finished if step.action == "create"), None)
    if created is not None:
        contract.prepared = await deployed_implementation(
            chain, created, addresses, replaced=contract.implementation.address
        )
    elif what == "rollback":
        contract.prepared = contract.former[-1]
    if any(step.function == "upgradeTo" for step in finished):
        take_over(contract)
    elif contract.prepared is not None:
        address = contract.prepared.address
        call = _upgrade_call(name, address, f"let {name} run the implementation at {address}")
        record.instruct(instruction_for(call, contract.upgrade_owner, known_addresses(record), name))


def take_over(contract: RecordedContract) -> None:
    """Record that the prepared implementation runs now."""
    prepared = contract.prepared
    if prepared is None:
        raise ValueError("no implementation is prepared")
    contract.former = [*(one for one in contract.former if one.address != prepared.address), contract.implementation]
    contract.implementation = prepared
    contract.prepared = None
