# SPDX-License-Identifier: Apache-2.0
"""Bring a network from what its record says to what its file says."""

from dataclasses import dataclass

from serving_network.__about__ import __version__
from serving_network.chain.connection import AsyncConnection
from serving_network.chain.node import from_hex, from_quantity
from serving_network.chain.sender import Fees
from serving_network.contracts import load
from serving_network.deployment.bytecode import artifact_hash, beacon_of, code_hash
from serving_network.deployment.calls import call_data, constructor_inputs, function_inputs, named
from serving_network.deployment.effects import read
from serving_network.deployment.engine import Engine, Progress, check_ready, genesis_hash
from serving_network.deployment.errors import PlanRefused
from serving_network.deployment.record import (
    Code,
    Contract,
    Implementation,
    Instruction,
    Pending,
    Record,
    RecordFile,
    Registration,
    Step,
)
from serving_network.deployment.spec import NetworkSpec
from serving_network.deployment.steps import (
    Plan,
    created_address,
    deployment,
    foreign_call,
    known_addresses,
    resolve,
)
from serving_network.errors import RpcError, WrongChain
from serving_network.signing import Signer

# How many of the deployer's former transactions are looked through for fronts that no record knows.
SEARCHED_NONCES = 300


@dataclass(frozen=True)
class Done:
    """What a run did: the steps it sent or found sent, and what other owners have to do now."""

    steps: tuple[Step, ...]
    instructions: tuple[Instruction, ...]

    @property
    def gas(self) -> int:
        """Gas that all steps used."""
        return sum(step.mined.gas_used for step in self.steps if step.mined is not None)


async def new_record(chain: AsyncConnection, network: str, spec: NetworkSpec, deployer: str) -> Record:
    """An empty record for a network on this chain. Raises WrongChain."""
    if chain.chain_id != spec.chain_id:
        raise WrongChain(spec.chain_id, chain.chain_id, chain.where)
    return Record(network=network, chain_id=spec.chain_id, genesis=await genesis_hash(chain), deployer=deployer)


async def plan_deployment(chain: AsyncConnection, spec: NetworkSpec, record: Record, sender: str) -> Plan:
    """What would have to be sent by `sender`. Sends nothing.

    Raises WrongChain, and PlanRefused when other work is under way or when the sender has deployed fronts that the
    record does not know, so that a lost record does not become a second network.
    """
    await check_ready(chain, record, "deploy", record.network)
    if not record.contracts and record.pending is None:
        await _check_unknown_fronts(chain, sender)
    return deployment(spec, record, sender)


async def apply_deployment(
    chain: AsyncConnection,
    account: Signer,
    spec: NetworkSpec,
    file: RecordFile,
    *,
    estimate: bool = True,
    timeout: float = 300,
    fees: Fees | None = None,
    progress: Progress | None = None,
) -> Done:
    """Do what is missing, or go on with what was begun, and write the record.

    `timeout` is in seconds and for one step. Raises what `plan_deployment` and `Engine.run` raise; calling it again
    goes on where it stopped.
    """
    with file.locked():
        record = file.record
        plan = await plan_deployment(chain, spec, record, account.address)
        if record.pending is None:
            if plan.steps:
                record.pending = Pending(
                    what="deploy",
                    sender=account.address,
                    subject=record.network,
                    steps=[_fixed(step) for step in plan.steps],
                )
                file.save()
            else:
                return Done((), _instruct(file, plan))
        _check_still_wanted(spec, record.pending)
        engine = Engine(
            chain,
            account,
            file,
            confirmations=spec.confirmations,
            estimate=estimate,
            timeout=timeout,
            fees=fees,
            progress=progress,
        )
        done = await engine.run()
        await _write_down(chain, spec, file, done)
        rest = deployment(spec, record, account.address)
        return Done(tuple(done.steps), _instruct(file, rest))


def _check_still_wanted(spec: NetworkSpec, pending: Pending) -> None:
    """Make sure that the file still has what was begun. Raises PlanRefused."""
    wanted = {"ledger", *(service.name for service in spec.services)}
    for step in pending.steps:
        name = step.id.rpartition("/")[0]
        if name not in wanted:
            raise PlanRefused(
                f"The deployment of {name} is not finished, but the network's file no longer has it.",
                next_step=f"Put {name} back into the file, finish, and leave it out of the registry then.",
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
            f"{sender} has deployed here before: the fronts {', '.join(fronts)} stand, but no record knows them.",
            cause="A second network beside the first one is hardly ever meant.",
            next_step="Take the network's record back from version control, or deploy with a fresh key.",
        )


def _fixed(step: Step) -> Step:
    return step.model_copy(update={"artifact_hash": artifact_hash(step.contract)}) if step.action == "create" else step


async def _write_down(chain: AsyncConnection, spec: NetworkSpec, file: RecordFile, done: Pending) -> None:
    """Turn finished steps into the record's contracts, and end the work."""
    record = file.record
    steps = {step.id: step for step in done.steps}
    addresses = known_addresses(record)
    for front in [step for step in done.steps if step.id.endswith("/front")]:
        name = front.id.removesuffix("/front")
        beacon, implementation = steps[f"{name}/beacon"], steps[f"{name}/implementation"]
        service = next((one for one in spec.services if one.name == name), None)
        about = service or spec.ledger
        initial = function_inputs(load(implementation.contract), "initialize", len(front.initial))
        record.contracts[name] = Contract(
            front=await deployed_code(chain, front, addresses),
            beacon=await deployed_code(chain, beacon, addresses),
            implementation=await deployed_implementation(chain, implementation, addresses),
            initial=named(initial, [resolve(one, addresses) for one in front.initial]),
            owner=await read(chain, implementation.contract, str(front.address), "owner"),
            upgrade_owner=await read(chain, beacon.contract, str(beacon.address), "owner"),
            clients=about.clients,
            providers=about.providers,
            registration=None
            if service is None
            else Registration(type=service.type, version=service.version, description=service.description),
        )
    for step in done.steps:
        registration = record.contracts[step.id.rpartition("/")[0]].registration
        if step.function == "registerService" and registration is not None and step.mined is not None:
            registration.registered, registration.transaction = True, step.mined.transaction
        elif step.function == "setRecommendedService":
            recommend(record, step.arguments[0], step.arguments[1])
        for one in record.open_instructions:
            if one.id == step.id and step.mined is not None:
                one.done_in = step.mined.block
    record.pending = None
    file.save()


def recommend(record: Record, service_type: str, version: str) -> None:
    """Write down that this version is the recommended one of its type, and the others are not."""
    for service in record.services.values():
        if service.registration is not None and service.registration.type == service_type:
            service.registration.recommended = service.registration.version == version


async def deployed_code(chain: AsyncConnection, step: Step, addresses: dict[str, str]) -> Code:
    """What a finished creation left, as the record keeps it. Raises ValueError for a step that is not finished."""
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
    """As `deployed_code`, for an implementation that takes the place of the one at `replaced`."""
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


def _instruct(file: RecordFile, plan: Plan) -> tuple[Instruction, ...]:
    """Write down what the ledger's owner has to do."""
    record = file.record
    addresses = known_addresses(record)
    for step in plan.instructions:
        arguments = [resolve(one, addresses) for one in step.arguments]
        data = "0x" + call_data(load(step.contract), str(step.function), arguments).hex()
        record.instruct(foreign_call(step, record.ledger.owner, addresses, data, "ledger"))
    file.save()
    return tuple(record.open_instructions)
