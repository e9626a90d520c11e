# SPDX-License-Identifier: Apache-2.0
"""A plan is carried out exactly as it was shown, or not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving_network.chain.connection import AsyncConnection
from serving_network.contracts import load
from serving_network.deployment.deploy import new_record, plan_deployment
from serving_network.deployment.engine import RunOptions, carry_out
from serving_network.deployment.errors import NotTheOwner, PlanOutdated, PlanRefused, RecordProblem
from serving_network.deployment.local import LOCAL
from serving_network.deployment.ownership import plan_acceptance, plan_renunciation, plan_transfer
from serving_network.deployment.plan import Done, Plan
from serving_network.deployment.record import Record
from serving_network.deployment.record_file import RecordFile
from serving_network.deployment.registry import plan_recommendation, plan_registration
from serving_network.deployment.rehearsal import rehearse_deployment
from serving_network.deployment.upgrade import plan_upgrade

from .conftest import Bench, DyingChain, Killed
from .people import send
from .test_deploy import NEXT_VERSION, with_service
from .test_upgrade import differences

OPTIONS = RunOptions(estimate=False, timeout=5)
# Another implementation, without another compilation: one with another minimum.
OTHER = {"minProviderStake": "1"}

Planning = Callable[[AsyncConnection, Bench, Record], Awaitable[Plan]]


def sent_by(bench: Bench, first: int) -> list[tuple[str | None, str]]:
    """Receiver and data of the transactions that the owner has sent from its transaction number `first` on."""
    head = int(bench.chain.request("eth_blockNumber", []), 16)
    blocks = [bench.chain.request("eth_getBlockByNumber", [hex(number), True]) for number in range(head + 1)]
    mine = [
        one
        for block in blocks
        for one in block["transactions"]
        if int(one["from"], 16) == int(bench.owner.address, 16) and int(one["nonce"], 16) >= first
    ]
    return [(one["to"], one["input"]) for one in sorted(mine, key=lambda one: int(one["nonce"], 16))]


async def transfer(chain: AsyncConnection, bench: Bench, record: Record) -> Plan:
    return await plan_transfer(chain, record, bench.owner.address, bench.stranger.address, two_steps=True)


async def renunciation(chain: AsyncConnection, bench: Bench, record: Record) -> Plan:
    return await plan_renunciation(chain, record, bench.owner.address, "inference-v1.0")


async def acceptance(chain: AsyncConnection, bench: Bench, record: Record) -> Plan:
    front = record.ledger.front.address
    await send(chain, bench.owner, "LedgerManager", front, "transferOwnership", bench.stranger.address)
    await send(chain, bench.stranger, "LedgerManager", front, "offerOwnership", bench.owner.address)
    return await plan_acceptance(chain, record, bench.owner.address)


async def upgrade(chain: AsyncConnection, bench: Bench, record: Record) -> Plan:
    return await plan_upgrade(chain, record, "inference-v1.0", bench.owner.address, arguments=OTHER)


async def recommendation(chain: AsyncConnection, bench: Bench, record: Record) -> Plan:
    return await plan_recommendation(chain, record, "inference-v1.1", bench.owner.address)


async def registration(chain: AsyncConnection, bench: Bench, record: Record) -> Plan:
    front = record.contracts["inference-v1.0"].front.address
    return await plan_registration(
        chain, record, bench.owner.address, service_type="speech", version="v1", address=front
    )


async def deployment(chain: AsyncConnection, bench: Bench, record: Record) -> Plan:
    return await plan_deployment(chain, with_service(NEXT_VERSION), record, bench.owner.address)


async def owner_of_the_ledger_changes(chain: AsyncConnection, bench: Bench, record: Record) -> None:
    front = record.ledger.front.address
    await send(chain, bench.owner, "LedgerManager", front, "transferOwnership", bench.stranger.address)


async def offer_is_withdrawn(chain: AsyncConnection, bench: Bench, record: Record) -> None:
    front = record.ledger.front.address
    await send(chain, bench.stranger, "LedgerManager", front, "offerOwnership", bench.user.address)


async def owner_of_the_service_changes(chain: AsyncConnection, bench: Bench, record: Record) -> None:
    front = record.contracts["inference-v1.0"].front.address
    await send(chain, bench.owner, "InferenceServing", front, "transferOwnership", bench.stranger.address)


async def upgrade_owner_changes(chain: AsyncConnection, bench: Bench, record: Record) -> None:
    beacon = record.contracts["inference-v1.0"].beacon.address
    await send(chain, bench.owner, "UpgradeableBeacon", beacon, "transferOwnership", bench.stranger.address)


async def implementation_changes(chain: AsyncConnection, bench: Bench, record: Record) -> None:
    one = record.contracts["inference-v1.0"]
    await send(chain, bench.owner, "UpgradeableBeacon", one.beacon.address, "upgradeTo", one.front.address)


async def another_version_is_recommended(chain: AsyncConnection, bench: Bench, record: Record) -> None:
    front = record.ledger.front.address
    await send(chain, bench.owner, "LedgerManager", front, "setRecommendedService", "inference", "v1.1")


async def owner_sends_something_else(chain: AsyncConnection, bench: Bench, _: Record) -> None:
    await chain.send(bench.owner, bench.user.address, b"", value=1)


def shown_and_sent(bench: Bench, planning: Planning) -> tuple[Plan, Done, list[tuple[str | None, str]]]:
    async def work(chain: AsyncConnection) -> tuple[Plan, Done, int]:
        file = bench.file()
        plan = await planning(chain, bench, file.record)
        first = bench.nonce(bench.owner)
        return plan, await carry_out(chain, bench.owner, file, plan, OPTIONS), first

    plan, done, first = bench.run(work)
    return plan, done, sent_by(bench, first)


@pytest.mark.parametrize(
    "planning", [transfer, renunciation, acceptance, upgrade, recommendation], ids=lambda one: one.__name__
)
def test_the_transactions_are_those_of_the_steps_shown(network: Bench, planning: Planning) -> None:
    network.deploy(with_service(NEXT_VERSION))
    plan, done, sent = shown_and_sent(network, planning)
    assert [(one.id, one.function, one.arguments) for one in done.steps] == [
        (one.id, one.function, one.arguments) for one in plan.steps
    ]
    record = network.record()
    fronts = {f"@{name}/front": one.front.address for name, one in record.contracts.items()}
    beacons = {f"@{name}/beacon": one.beacon.address for name, one in record.contracts.items()}
    assert [to and to.lower() for to, _ in sent] == [
        None if one.to is None else (fronts | beacons)[one.to].lower() for one in plan.steps
    ]
    for (_, data), one in zip(sent, plan.steps, strict=True):
        interface = load(one.contract).interface
        if one.function is not None:
            called = interface.decode_call(bytes.fromhex(data[2:]))
            assert called is not None
            assert called.name == one.function
    assert all(one.attempts == [] and one.mined is None for one in plan.steps)
    if planning is not acceptance:
        assert differences(network) == []


def test_a_deployment_lands_where_its_plan_showed(bench: Bench) -> None:
    async def work(chain: AsyncConnection) -> tuple[dict[str, str], Done]:
        file = RecordFile(bench.path, await new_record(chain, "net", LOCAL, bench.owner.address))
        plan = await plan_deployment(chain, LOCAL, file.record, bench.owner.address)
        _, addresses = await rehearse_deployment(chain, file.record, plan)
        return addresses, await carry_out(chain, bench.owner, file, plan, OPTIONS)

    addresses, done = bench.run(work)
    assert {one.id: one.address for one in done.steps if one.action == "create"} == addresses


@pytest.mark.parametrize(
    ("planning", "change", "says"),
    [
        (transfer, owner_of_the_ledger_changes, "The owner of ledger was"),
        (transfer, upgrade_owner_changes, "The upgrade owner of inference-v1.0 was"),
        (acceptance, offer_is_withdrawn, "The offered owner of ledger was"),
        (renunciation, owner_of_the_service_changes, "The owner of inference-v1.0 was"),
        (upgrade, upgrade_owner_changes, "The upgrade owner of inference-v1.0 was"),
        (upgrade, implementation_changes, "The implementation of inference-v1.0 was"),
        (recommendation, another_version_is_recommended, "The recommended inference was"),
        (recommendation, owner_of_the_ledger_changes, "The owner of ledger was"),
        (registration, owner_of_the_ledger_changes, "The owner of ledger was"),
        (deployment, owner_sends_something_else, "The number of transactions of"),
        (deployment, owner_of_the_ledger_changes, "was"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_chain_that_changed_after_the_plan_was_shown_is_refused(
    network: Bench, planning: Planning, change: Callable[[AsyncConnection, Bench, Record], Awaitable[None]], says: str
) -> None:
    if planning is not deployment:
        network.deploy(with_service(NEXT_VERSION))
    before = network.path.read_bytes()

    async def work(chain: AsyncConnection) -> int:
        file = network.file()
        plan = await planning(chain, network, file.record)
        await change(chain, network, file.record)
        nonce = network.nonce(network.owner)
        with pytest.raises(PlanOutdated, match=says) as refusal:
            await carry_out(chain, network.owner, file, plan, OPTIONS)
        assert "Nothing was sent" in str(refusal.value.cause)
        return nonce

    assert network.run(work) == network.nonce(network.owner)
    assert network.path.read_bytes() == before


def test_a_record_that_another_run_changed_is_refused(network: Bench) -> None:
    network.deploy(with_service(NEXT_VERSION))

    async def work(chain: AsyncConnection) -> None:
        file, other = network.file(), network.file()
        plan = await transfer(chain, network, file.record)
        again = await recommendation(chain, network, other.record)
        await carry_out(chain, network.owner, other, again, OPTIONS)
        with pytest.raises(RecordProblem, match="was changed after it was read"):
            await carry_out(chain, network.owner, file, plan, OPTIONS)

    network.run(work)
    assert network.record().pending is None


def test_the_key_of_somebody_else_is_refused(network: Bench) -> None:
    async def work(chain: AsyncConnection) -> None:
        file = network.file()
        plan = await transfer(chain, network, file.record)
        with pytest.raises(NotTheOwner, match=f"are for the key of {network.owner.address}"):
            await carry_out(chain, network.stranger, file, plan, OPTIONS)

    network.run(work)
    assert network.record().pending is None


def test_unfinished_work_is_planned_and_resumed_as_it_was_begun(network: Bench) -> None:
    async def begin(chain: AsyncConnection) -> Any:
        file = network.file()
        return await carry_out(chain, network.owner, file, await transfer(chain, network, file.record), OPTIONS)

    with pytest.raises(Killed):
        network.run(begin, DyingChain(network.chain, "eth_sendRawTransaction", 3, after=True))

    async def resume(chain: AsyncConnection) -> tuple[Plan, Done]:
        file = network.file()
        plan = await transfer(chain, network, file.record)
        return plan, await carry_out(chain, network.owner, file, plan, OPTIONS)

    plan, done = network.run(resume)
    assert plan.resumed
    assert [one.id for one in done.steps] == [one.id for one in plan.steps]
    assert len(done.steps) == 6


def test_a_renounced_contract_is_recorded_without_an_owner(network: Bench) -> None:
    shown_and_sent(network, renunciation)
    assert int(network.record().contracts["inference-v1.0"].owner, 16) == 0
    assert differences(network) == []


def test_a_service_is_registered_once(network: Bench) -> None:
    async def again(chain: AsyncConnection) -> None:
        record = network.record()
        await plan_registration(
            chain,
            record,
            network.owner.address,
            service_type="inference",
            version="v1.0",
            address=record.contracts["inference-v1.0"].front.address,
        )

    with pytest.raises(PlanRefused, match=r"inference-v1\.0 is registered already"):
        network.run(again)
