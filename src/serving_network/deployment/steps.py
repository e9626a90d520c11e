# SPDX-License-Identifier: Apache-2.0
"""What has to be sent, in which order, to make a network what its file says.

Every contract is four creations and calls that belong together: the implementation, its beacon, the front (created
and initialised in the same transaction, so that nobody can get in between), and the beacon taking the front on.
A service is then registered with the ledger. The order is fixed, because on a fresh deployer it fixes the addresses:
the fronts of ledger, inference and fine-tuning come from its nonces 2, 6 and 12.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import rlp
from eth_utils import keccak, to_canonical_address, to_checksum_address

from serving_network.deployment.record import Instruction, Record, Step
from serving_network.deployment.spec import LedgerSpec, NetworkSpec, ServiceSpec

# Gas limits that no step of ours reaches, for where nothing is known better; what is not used is not paid.
CREATE_IMPLEMENTATION_GAS = 8_000_000
CREATE_SMALL_GAS = 2_000_000
CALL_GAS = 700_000


@dataclass(frozen=True)
class Plan:
    """`steps` are the sender's, `instructions` what other owners must do afterwards, `notes` what a person should
    know: differences between the file and what stands that no deployment can change."""

    sender: str
    steps: tuple[Step, ...]
    instructions: tuple[Step, ...]
    notes: tuple[str, ...]

    @property
    def contracts(self) -> list[str]:
        """The contracts that this plan creates, in order."""
        return [step.id.removesuffix("/front") for step in self.steps if step.id.endswith("/front")]


def created_address(sender: str, nonce: int) -> str:
    """The address of the contract that `sender` creates with its transaction number `nonce`."""
    return to_checksum_address(keccak(rlp.encode([to_canonical_address(sender), nonce]))[12:])


def deployment(spec: NetworkSpec, record: Record, sender: str) -> Plan:
    """The steps from `record` to `spec`, sent by `sender`. Pure: the chain is not asked."""
    steps: list[Step] = []
    foreign: list[Step] = []
    notes: list[str] = []
    if "ledger" not in record.contracts:
        steps += _ledger(spec.ledger, sender)
        registrar = spec.ledger.owner or sender
    else:
        registrar = record.ledger.owner
        notes += _ledger_differences(spec.ledger, record)
    mine = steps if registrar == sender else foreign
    for service in spec.services:
        known = record.contracts.get(service.name)
        registration = None if known is None else known.registration
        if known is None:
            steps += _service(service, sender)
        else:
            notes += _service_differences(service, record)
        if registration is None or not registration.registered:
            mine.append(_register(service))
        if service.recommended and not (registration is not None and registration.recommended):
            mine.append(_recommend(service))
    wanted = {service.name for service in spec.services}
    notes += [
        f"{name} stands but is not in the file; it is left alone" for name in record.services if name not in wanted
    ]
    return Plan(sender, tuple(steps), tuple(foreign), tuple(notes))


def predicted(plan: Plan, record: Record, first_nonce: int) -> dict[str, str]:
    """Where each creation of the plan will land when the sender's next transactions are exactly these."""
    return {
        step.id: created_address(plan.sender, first_nonce + place)
        for place, step in enumerate(plan.steps)
        if step.action == "create"
    } | known_addresses(record)


def known_addresses(record: Record) -> dict[str, str]:
    """The addresses that "@" values of a step may mean, from what stands and what is under way."""
    found: dict[str, str] = {}
    for name, contract in record.contracts.items():
        found[f"{name}/implementation"] = contract.implementation.address
        found[f"{name}/beacon"] = contract.beacon.address
        found[f"{name}/front"] = contract.front.address
    if record.pending is not None:
        found |= {step.id: step.address for step in record.pending.steps if step.address is not None}
    return found


def resolve(value: str, addresses: dict[str, str]) -> str:
    """The address that an "@" value stands for, or the value itself. Raises KeyError for a name that is not known."""
    return addresses[value[1:]] if value.startswith("@") else value


def implementation_step(name: str, contract: str, arguments: list[str]) -> Step:
    """The creation of an implementation for the contract called `name`."""
    return Step(
        id=f"{name}/implementation",
        says=f"create the {contract} implementation",
        action="create",
        contract=contract,
        arguments=arguments,
        gas=CREATE_IMPLEMENTATION_GAS,
    )


def _proxied(
    name: str, contract: str, constructor: list[str], initial: list[str], upgrade_owner: str | None, sender: str
) -> Iterator[Step]:
    yield implementation_step(name, contract, constructor)
    yield Step(
        id=f"{name}/beacon",
        says="create its beacon",
        action="create",
        contract="UpgradeableBeacon",
        arguments=[f"@{name}/implementation"],
        gas=CREATE_SMALL_GAS,
    )
    yield Step(
        id=f"{name}/front",
        says="create its front and initialise it",
        action="create",
        contract="BeaconProxy",
        arguments=[f"@{name}/beacon"],
        behind=contract,
        initial=initial,
        gas=CREATE_SMALL_GAS,
    )
    yield Step(
        id=f"{name}/attach",
        says="let the beacon keep the front's implementation",
        action="call",
        contract="UpgradeableBeacon",
        function="attach",
        to=f"@{name}/beacon",
        arguments=[f"@{name}/front"],
        gas=CALL_GAS,
    )
    if upgrade_owner not in (None, sender):
        yield Step(
            id=f"{name}/upgrade-owner",
            says=f"give upgrades to {upgrade_owner}",
            action="call",
            contract="UpgradeableBeacon",
            function="transferOwnership",
            to=f"@{name}/beacon",
            arguments=[str(upgrade_owner)],
            gas=CALL_GAS,
        )


def _ledger(spec: LedgerSpec, sender: str) -> Iterator[Step]:
    return _proxied(
        "ledger", "LedgerManager", ledger_arguments(spec), [spec.owner or sender], spec.upgrade_owner, sender
    )


def _service(spec: ServiceSpec, sender: str) -> Iterator[Step]:
    initial: list[str] = [str(spec.lock_time), "@ledger/front", spec.owner or sender]
    if spec.penalty_percentage is not None:
        initial.append(str(spec.penalty_percentage))
    return _proxied(spec.name, spec.contract, [str(spec.min_provider_stake)], initial, spec.upgrade_owner, sender)


def ledger_arguments(spec: LedgerSpec) -> list[str]:
    return [str(spec.min_account_balance), str(spec.min_transfer_amount)]


def _register(spec: ServiceSpec) -> Step:
    return Step(
        id=f"{spec.name}/register",
        says=f"register {spec.name} with the ledger",
        action="call",
        contract="LedgerManager",
        function="registerService",
        to="@ledger/front",
        arguments=[spec.type, spec.version, f"@{spec.name}/front", spec.description],
        gas=CALL_GAS,
    )


def _recommend(spec: ServiceSpec) -> Step:
    return Step(
        id=f"{spec.name}/recommend",
        says=f"make {spec.version} the recommended {spec.type}",
        action="call",
        contract="LedgerManager",
        function="setRecommendedService",
        to="@ledger/front",
        arguments=[spec.type, spec.version],
        gas=CALL_GAS,
    )


def _ledger_differences(spec: LedgerSpec, record: Record) -> Iterator[str]:
    stands = record.ledger
    yield from _constructor_differences(
        "ledger", ledger_arguments(spec), list(stands.implementation.arguments.values())
    )
    yield from _owner_differences("ledger", spec.owner, stands.owner, spec.upgrade_owner, stands.upgrade_owner)


def _service_differences(spec: ServiceSpec, record: Record) -> Iterator[str]:
    stands = record.contracts[spec.name]
    yield from _constructor_differences(
        spec.name, [str(spec.min_provider_stake)], list(stands.implementation.arguments.values())
    )
    yield from _owner_differences(spec.name, spec.owner, stands.owner, spec.upgrade_owner, stands.upgrade_owner)


def _constructor_differences(name: str, wanted: list[str], has: list[str]) -> Iterator[str]:
    if wanted != has:
        yield (
            f"{name} was built with {', '.join(has)}, the file says {', '.join(wanted)}: serving upgrade apply {name}"
        )


def _owner_differences(
    name: str, owner: str | None, has_owner: str, upgrade: str | None, has_upgrade: str
) -> Iterator[str]:
    if owner not in (None, has_owner):
        yield f"{name} belongs to {has_owner}, the file says {owner}: serving handover apply {name}"
    if upgrade not in (None, has_upgrade):
        yield f"{name} is upgraded by {has_upgrade}, the file says {upgrade}: serving handover apply {name}"


def foreign_call(step: Step, owner: str, addresses: dict[str, str], data: str, subject: str) -> Instruction:
    """The instruction for a step that belongs to another owner; `data` is its calldata."""
    to = resolve(str(step.to), addresses)
    arguments = [resolve(one, addresses) for one in step.arguments]
    return Instruction(
        id=step.id,
        says=step.says,
        sender=owner,
        to=to,
        contract=step.contract,
        function=str(step.function),
        arguments=arguments,
        data=data,
        subject=subject,
    )
