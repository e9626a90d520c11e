# SPDX-License-Identifier: Apache-2.0
"""The steps, in order, that deploy what a network's file describes.

Every contract takes four steps: create the implementation, create its beacon, create the front (and initialise it in
the same transaction, so that nobody can do it first), and attach the front to the beacon. A service is then registered
with the ledger. The order is fixed, because the addresses of a fresh deployer depend on it: the fronts of ledger,
inference and fine-tuning are created with its nonces 2, 6 and 12.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import rlp

from serving_network.addresses import to_canonical_address, to_checksum_address
from serving_network.deployment.bytecode import artifact_hash
from serving_network.deployment.plan import Delegated
from serving_network.deployment.record import Record, Step
from serving_network.deployment.spec import LedgerSpec, NetworkSpec, ServiceSpec
from serving_network.hashing import keccak
from serving_network.money import describe

# Gas limits that no step reaches, for chains whose node does not estimate. Unused gas is not paid.
CREATE_IMPLEMENTATION_GAS = 8_000_000
CREATE_SMALL_GAS = 2_000_000
CALL_GAS = 700_000


class DeploymentSteps(NamedTuple):
    """What brings a record to its file: the sender's steps, the ledger owner's, and what no deployment can change."""

    steps: tuple[Step, ...]
    delegated: tuple[Delegated, ...]
    notes: tuple[str, ...]


def created_address(sender: str, nonce: int) -> str:
    """The address of the contract that `sender` creates with its transaction number `nonce`."""
    return to_checksum_address(keccak(rlp.encode([to_canonical_address(sender), nonce]))[12:])


def deployment_steps(spec: NetworkSpec, record: Record, sender: str) -> DeploymentSteps:
    """The steps from `record` to `spec`, sent by `sender`. Pure: the chain is not asked."""
    steps: list[Step] = []
    others: list[Step] = []
    notes: list[str] = []
    if "ledger" not in record.contracts:
        steps += _ledger(spec.ledger, sender)
        registrar = spec.ledger.owner or sender
    else:
        registrar = record.ledger.owner
        notes += _ledger_differences(spec.ledger, record)
    registrations = steps if registrar == sender else others
    for service in spec.services:
        known = record.contracts.get(service.name)
        registration = None if known is None else known.registration
        if known is None:
            steps += _service(service, sender)
        else:
            notes += _service_differences(service, record)
        if registration is None or not registration.registered:
            registrations.append(
                register_step(service.type, service.version, f"@{service.name}/front", service.description)
            )
        if service.recommended and not (registration is not None and registration.recommended):
            registrations.append(recommend_step(service.type, service.version))
    wanted = {service.name for service in spec.services}
    notes += [
        f"{name} is deployed but not in the file; nothing changes" for name in record.services if name not in wanted
    ]
    fixed = tuple(
        step.model_copy(update={"artifact_hash": artifact_hash(step.contract)}) if step.action == "create" else step
        for step in steps
    )
    return DeploymentSteps(fixed, tuple(Delegated(registrar, step) for step in others), tuple(notes))


def known_addresses(record: Record) -> dict[str, str]:
    """The addresses for the "@" values of steps, from the record's contracts and its unfinished work."""
    found: dict[str, str] = {}
    for name, contract in record.contracts.items():
        found[f"{name}/implementation"] = contract.implementation.address
        found[f"{name}/beacon"] = contract.beacon.address
        found[f"{name}/front"] = contract.front.address
    if record.pending is not None:
        found |= {step.id: step.address for step in record.pending.steps if step.address is not None}
    return found


def resolve(value: str, addresses: dict[str, str]) -> str:
    """The address of an "@" value, or the value itself. Raises KeyError for an unknown name."""
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
        says="attach the front to its beacon",
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
            says=f"transfer the upgrades to {upgrade_owner}",
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


def register_step(service_type: str, version: str, address: str, description: str) -> Step:
    """The call that registers a service with the ledger."""
    return Step(
        id=f"{service_type}-{version}/register",
        says=f"register {service_type}-{version} with the ledger",
        action="call",
        contract="LedgerManager",
        function="registerService",
        to="@ledger/front",
        arguments=[service_type, version, address, description],
        gas=CALL_GAS,
    )


def recommend_step(service_type: str, version: str) -> Step:
    """The call that makes a registered version the recommended one of its type."""
    return Step(
        id=f"{service_type}-{version}/recommend",
        says=f"make {version} the recommended version of {service_type}",
        action="call",
        contract="LedgerManager",
        function="setRecommendedService",
        to="@ledger/front",
        arguments=[service_type, version],
        gas=CALL_GAS,
    )


def _ledger_differences(spec: LedgerSpec, record: Record) -> Iterator[str]:
    stands = record.ledger
    yield from _constructor_differences("ledger", ledger_arguments(spec), stands.implementation.arguments)
    yield from _owner_differences("ledger", spec.owner, stands.owner, spec.upgrade_owner, stands.upgrade_owner)


def _service_differences(spec: ServiceSpec, record: Record) -> Iterator[str]:
    stands = record.contracts[spec.name]
    yield from _constructor_differences(spec.name, [str(spec.min_provider_stake)], stands.implementation.arguments)
    yield from _owner_differences(spec.name, spec.owner, stands.owner, spec.upgrade_owner, stands.upgrade_owner)


def _constructor_differences(name: str, wanted: list[str], has: Mapping[str, str]) -> Iterator[str]:
    for argument, (built, value) in zip(has, zip(has.values(), wanted, strict=True), strict=True):
        if value != built:
            yield (
                f"{name} was built with {argument}={describe(int(built))}, the file says {describe(int(value))}:"
                f" serving upgrade apply {name} --argument {argument}={value}"
            )


def _owner_differences(
    name: str, owner: str | None, has_owner: str, upgrade: str | None, has_upgrade: str
) -> Iterator[str]:
    if owner not in (None, has_owner):
        yield f"{name} belongs to {has_owner}, the file says {owner}: serving ownership offer {name}"
    if upgrade not in (None, has_upgrade):
        command = f"serving ownership offer {name} --what upgrade"
        yield f"{name} is upgraded by {has_upgrade}, the file says {upgrade}: {command}"
