# SPDX-License-Identifier: Apache-2.0
"""Deploy what is in a network's file and not in its record."""

from collections.abc import Sequence
from functools import partial

from serving_network.__about__ import __version__
from serving_network.chain.connection import AsyncConnection
from serving_network.chain.contract import Contract
from serving_network.chain.node import from_hex, from_quantity
from serving_network.contracts import load
from serving_network.deployment.bytecode import artifact_hash, beacon_of, code_hash
from serving_network.deployment.calls import constructor_inputs, function_inputs, instruction_for, named
from serving_network.deployment.errors import PlanRefused
from serving_network.deployment.genesis import genesis_hash
from serving_network.deployment.plan import Assumption, Plan, check_ready, getter, transaction_count
from serving_network.deployment.record import (
    Code,
    Implementation,
    Pending,
    Record,
    RecordedContract,
    Registration,
    Step,
)
from serving_network.deployment.spec import NetworkSpec
from serving_network.deployment.steps import created_address, deployment_steps, known_addresses, resolve
from serving_network.errors import RpcError, WrongChain

# The number of the deployer's latest transactions in which fronts without a record are searched.
SEARCHED_NONCES = 300


async def new_record(chain: AsyncConnection, network: str, spec: NetworkSpec, deployer: str) -> Record:
    """An empty record for a network on this chain. Raises WrongChain."""
    if chain.chain_id != spec.chain_id:
        raise WrongChain(spec.chain_id, chain.chain_id, chain.where)
    return Record(network=network, chain_id=spec.chain_id, genesis=await genesis_hash(chain), deployer=deployer)


async def plan_deployment(chain: AsyncConnection, spec: NetworkSpec, record: Record, sender: str) -> Plan:
    """What brings the record to its file, sent by `sender`. Sends nothing.

    Raises WrongChain, and PlanRefused when other work is unfinished or when the sender has deployed fronts that the
    record does not know, so that a lost record does not become a second network.
    """
    pending = await check_ready(chain, record, "deploy", record.network)
    missing = deployment_steps(spec, record, sender)
    steps = missing.steps
    assumptions: tuple[Assumption, ...] = ()
    if pending is not None:
        _check_still_wanted(spec, pending)
        steps = tuple(pending.steps)
    elif steps or missing.delegated:
        if not record.contracts:
            await _check_unknown_fronts(chain, sender)
        assumptions = await _assumptions(chain, record, sender, steps)
    return Plan(
        what="deploy",
        subject=record.network,
        sender=sender if pending is None else pending.sender,
        steps=steps,
        write_down=partial(_write_down, spec, sender),
        delegated=missing.delegated,
        notes=missing.notes,
        assumptions=assumptions,
        resumed=pending is not None,
    )


async def _assumptions(
    chain: AsyncConnection, record: Record, sender: str, steps: tuple[Step, ...]
) -> tuple[Assumption, ...]:
    """The addresses follow from the sender's nonce, and only the ledger's owner can register services."""
    found = []
    if any(step.action == "create" for step in steps):
        count = transaction_count(sender)
        found.append(await Assumption.now(chain, f"The number of transactions of {sender}", count))
    if "ledger" in record.contracts:
        front = record.ledger.front.address
        owner = getter("LedgerManager", front, "owner")
        found.append(await Assumption.now(chain, "The owner of ledger", owner))
        for step in steps:
            if step.function == "registerService":
                name = "-".join(step.arguments[:2])
                registered = getter("LedgerManager", front, "getServiceAddressByName", name)
                found.append(await Assumption.now(chain, f"The registered address of {name}", registered))
    return tuple(found)


def _check_still_wanted(spec: NetworkSpec, pending: Pending) -> None:
    """Check that the file still has what the unfinished deployment contains. Raises PlanRefused."""
    wanted = {"ledger", *(service.name for service in spec.services)}
    for step in pending.steps:
        name = step.id.rpartition("/")[0]
        if name not in wanted:
            raise PlanRefused(
                f"The deployment of {name} is not finished, but the network's file no longer has it.",
                next_step=f"Put {name} back into the file and finish the deployment.",
            )


async def _check_unknown_fronts(chain: AsyncConnection, sender: str) -> None:
    count = from_quantity(await chain.rpc("eth_getTransactionCount", [sender, "latest"]))
    addresses = [created_address(sender, nonce) for nonce in range(max(0, count - SEARCHED_NONCES), count)]
    codes = await chain.batch([("eth_getCode", [address, "latest"]) for address in addresses])
    for code in codes:
        if isinstance(code, RpcError):
            raise code
    fronts = [address for address, code in zip(addresses, codes, strict=True) if beacon_of(from_hex(code)) is not None]
    if fronts:
        raise PlanRefused(
            f"{sender} has deployed on this chain before: the fronts {', '.join(fronts)} are in no record.",
            cause="This would deploy a second network beside the first.",
            next_step="Restore the network's record from version control, or deploy with a new key.",
        )


async def _write_down(
    spec: NetworkSpec,
    sender: str,
    chain: AsyncConnection,
    record: Record,
    finished: Sequence[Step],
) -> None:
    """Record the contracts that finished steps created, and instruct the ledger's owner.

    The file may have changed since unfinished work was begun. What it has gained is not deployed yet, and left out.
    """
    if not record.contracts:
        record.deployer = sender
    steps = {step.id: step for step in finished}
    addresses = known_addresses(record)
    for front in [step for step in finished if step.id.endswith("/front")]:
        name = front.id.removesuffix("/front")
        beacon, implementation = steps[f"{name}/beacon"], steps[f"{name}/implementation"]
        service = next((one for one in spec.services if one.name == name), None)
        about = service or spec.ledger
        initial = function_inputs(load(implementation.contract), "initialize", len(front.initial))
        record.contracts[name] = RecordedContract(
            front=await deployed_code(chain, front, addresses),
            beacon=await deployed_code(chain, beacon, addresses),
            implementation=await deployed_implementation(chain, implementation, addresses),
            initial=named(initial, [resolve(one, addresses) for one in front.initial]),
            owner=await Contract(chain, implementation.contract, str(front.address)).read("owner"),
            upgrade_owner=await Contract(chain, beacon.contract, str(beacon.address)).read("owner"),
            clients=about.clients,
            providers=about.providers,
            registration=None
            if service is None
            else Registration(type=service.type, version=service.version, description=service.description),
        )
    note_registrations(record, finished)
    addresses = known_addresses(record)
    for one in deployment_steps(spec, record, sender).delegated:
        if one.step.id.rpartition("/")[0] in record.contracts:
            record.instruct(instruction_for(one.step, one.owner, addresses, "ledger"))


def note_registrations(record: Record, finished: Sequence[Step]) -> None:
    """Record registrations and recommendations, and close their instructions."""
    addresses = known_addresses(record)
    for step in finished:
        if step.function == "registerService" and step.mined is not None:
            registered = record.contracts.get("-".join(step.arguments[:2]))
            address = resolve(step.arguments[2], addresses)
            if registered is not None and registered.registration is not None and registered.front.address == address:
                registered.registration.registered = True
                registered.registration.transaction = step.mined.transaction
        elif step.function == "setRecommendedService":
            recommend(record, step.arguments[0], step.arguments[1])
        arguments = [resolve(one, addresses) for one in step.arguments]
        for one in record.open_instructions:
            if one.id == step.id and one.arguments[:3] == arguments[:3] and step.mined is not None:
                one.done_in = step.mined.block


def recommend(record: Record, service_type: str, version: str) -> None:
    """Record that this version is the recommended one of its type, and that the others are not."""
    for service in record.services.values():
        if service.registration is not None and service.registration.type == service_type:
            service.registration.recommended = service.registration.version == version


async def deployed_code(chain: AsyncConnection, step: Step, addresses: dict[str, str]) -> Code:
    """The code that a finished step created, as recorded. Raises ValueError for a step that is not finished."""
    if step.mined is None or step.address is None:
        raise ValueError(f"{step.id} is not deployed")
    inputs = constructor_inputs(load(step.contract))[: len(step.arguments)]
    return Code(
        contract=step.contract,
        address=step.address,
        mined=step.mined,
        artifact_hash=artifact_hash(step.contract),
        arguments=named(inputs, [resolve(one, addresses) for one in step.arguments]),
        code_hash=code_hash(await chain.code(step.address)),
    )


async def deployed_implementation(
    chain: AsyncConnection, step: Step, addresses: dict[str, str], replaced: str | None = None
) -> Implementation:
    """As `deployed_code`, for an implementation that replaces the one at `replaced`."""
    code = await deployed_code(chain, step, addresses)
    artifact = load(step.contract)
    return Implementation(
        **code.model_dump(exclude={"mined"}),
        mined=code.mined,
        release=__version__,
        compiler=artifact.compiler,
        storage_layout=artifact.storage_layout,
        replaced=replaced,
    )
