# SPDX-License-Identifier: Apache-2.0
"""Upgrading: what is refused, what is rehearsed, what is done, and what another owner is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.contract import Contract
from serving_network.contracts import load
from serving_network.deployment.books import recorded_books
from serving_network.deployment.check import Finding, check_record
from serving_network.deployment.engine import RunOptions, carry_out
from serving_network.deployment.errors import (
    ForeignProxy,
    LayoutRefused,
    NotAsRecorded,
    PlanRefused,
    RehearsalFailed,
)
from serving_network.deployment.instructions import look_after, text, write_files
from serving_network.deployment.ownership import plan_transfer
from serving_network.deployment.plan import Done, Plan
from serving_network.deployment.rehearsal import Rehearsal, rehearse_upgrade
from serving_network.deployment.safe import checksum
from serving_network.deployment.upgrade import check_beacon, plan_rollback, plan_upgrade
from serving_network.localchain import EmbeddedChain
from serving_network.wallet.local import LocalSigner

from .conftest import Bench, DyingChain, Killed
from .people import open_accounts
from .variants import lay_out_again, misread, rebuild, relayout

BEACON = "UpgradeableBeacon"


def plan(bench: Bench, name: str = "ledger", **options: Any) -> Plan:
    async def work(chain: AsyncConnection) -> Plan:
        return await plan_upgrade(chain, bench.record(), name, bench.owner.address, **options)

    return bench.run(work)


def upgrade(
    bench: Bench,
    name: str = "ledger",
    *,
    chain: Any = None,
    account: LocalSigner | None = None,
    rollback: bool = False,
    arguments: dict[str, str] | None = None,
) -> Done:
    async def work(connection: AsyncConnection) -> Done:
        who, file = account or bench.owner, bench.file()
        plan = (
            await plan_rollback(connection, file.record, name, who.address)
            if rollback
            else await plan_upgrade(connection, file.record, name, who.address, arguments=arguments)
        )
        return await carry_out(connection, who, file, plan, RunOptions(estimate=False, timeout=5))

    return bench.run(work, chain)


def rehearse(bench: Bench, name: str = "ledger") -> Rehearsal:
    async def work(chain: AsyncConnection) -> Rehearsal:
        made = await plan_upgrade(chain, bench.record(), name, bench.owner.address)
        return await rehearse_upgrade(chain, bench.record(), made)

    return bench.run(work)


def running(bench: Bench, name: str = "ledger") -> str:
    return str(
        bench.run(
            lambda chain: Contract(chain, BEACON, bench.record().contract(name).beacon.address).read("implementation")
        )
    )


def release(bench: Bench, name: str = "ledger") -> int:
    contract = bench.record().contract(name)

    async def work(chain: AsyncConnection) -> int:
        selector = bytes.fromhex("86d1a69f")  # keccak("release()")
        return int.from_bytes(await chain.call(contract.front.address, selector))

    return bench.run(work)


def differences(bench: Bench) -> list[Finding]:
    async def work(chain: AsyncConnection) -> list[Finding]:
        return [one for one in await check_record(chain, bench.record()) if one.difference is not None]

    return bench.run(work)


def test_the_same_build_is_no_upgrade(network: Bench) -> None:
    with pytest.raises(PlanRefused, match="already runs this build"):
        plan(network)


def test_an_upgrade_of_one_contract_leaves_the_others_alone(network: Bench, other_build: Path) -> None:
    rebuild(other_build, "LedgerManager")
    before = network.record()
    upgrade(network)
    after = network.record()
    assert release(network) == 2
    assert running(network) == after.ledger.implementation.address
    assert after.ledger.former == [before.ledger.implementation]
    assert after.ledger.implementation.replaced == before.ledger.implementation.address
    assert after.services == before.services
    assert differences(network) == []


def test_the_ledger_is_upgraded_under_live_balances(network: Bench, other_build: Path) -> None:
    open_accounts(network)
    rebuild(other_build, "LedgerManager")

    async def books(chain: AsyncConnection) -> Any:
        return await recorded_books(chain, network.record())

    before = network.run(books)
    assert before.available
    assert before.in_accounts
    shown = rehearse(network)
    assert shown.before.total == shown.after.total == before.total
    assert shown.answers > 20
    upgrade(network)
    after = network.run(books)
    assert (after.available, after.total, after.in_accounts, after.problems) == (
        before.available,
        before.total,
        before.in_accounts,
        (),
    )


def test_a_rehearsal_leaves_the_chain_alone(network: Bench, other_build: Path) -> None:
    open_accounts(network)
    rebuild(other_build, "LedgerManager")
    block = network.chain.request("eth_blockNumber", [])
    rehearse(network)
    assert network.chain.request("eth_blockNumber", []) == block


@pytest.mark.parametrize(
    ("file", "edits", "kind", "named"),
    [
        (None, (("^initializes: ownable$", "inserted: uint256\ninitializes: ownable"),), "inserted", "inserted"),
        (
            "serving/ownable.vy",
            (
                (r"^owner: public\(address\)$", "former: address"),
                (r"^pendingOwner: public\(address\)$", "pendingOwner: public(address)\nowner: public(address)"),
            ),
            "moved",
            "ownable.owner",
        ),
        (
            "serving/accounts.vy",
            ((r"(custom:packed _words) (\w+:\d+), (\w+:\d+)", r"\1 \3, \2"),),
            "repacked",
            "accounts._words.",
        ),
        (
            "serving/services.vy",
            ((r"(custom:packed _words signer:160, stake):\d+", r"\1:90"),),
            "repacked",
            "services._words.stake",
        ),
    ],
    ids=["inserted", "reordered", "repacked in another order", "repacked narrower"],
)
def test_a_layout_that_would_misread_a_word_is_refused_by_name(
    network: Bench, other_build: Path, file: str | None, edits: tuple[tuple[str, str], ...], kind: str, named: str
) -> None:
    lay_out_again(other_build, "InferenceServing", file, edits)
    refused(network, kind, named)


@pytest.mark.parametrize(
    ("change", "kind", "named"),
    [
        (lambda layout: layout["storage_layout"]["accounts"].pop("_words"), "removed", "accounts._words"),
        (
            lambda layout: layout["storage_layout"]["accounts"]["lockTime"].update(type="int256"),
            "retyped",
            "accounts.lockTime",
        ),
        (lambda layout: layout["packed"].pop("accounts._words"), "repacked", "accounts._words"),
    ],
    ids=["removed", "retyped", "declaration lost"],
)
def test_a_build_whose_layout_lost_something_is_refused_by_name(
    network: Bench, other_build: Path, change: Callable[[Any], Any], kind: str, named: str
) -> None:
    relayout(other_build, "InferenceServing", change)
    refused(network, kind, named)


def refused(bench: Bench, kind: str, named: str) -> None:
    """An upgrade of the inference service is refused for this word, and nothing was sent."""
    nonce = bench.nonce(bench.owner)
    with pytest.raises(LayoutRefused) as refusal:
        upgrade(bench, "inference-v1.0")
    assert any(one.kind == kind and one.variable.startswith(named) for one in refusal.value.refusals)
    assert named in str(refusal.value)
    assert bench.nonce(bench.owner) == nonce


def test_appended_variables_are_accepted_and_named(network: Bench, other_build: Path) -> None:
    rebuild(other_build, "LedgerManager")
    assert plan(network).appended == ("appended",)
    upgrade(network)
    assert differences(network) == []


def test_code_that_misreads_what_it_declares_right_is_found_by_the_rehearsal(network: Bench, other_build: Path) -> None:
    """The layout is declared as before, but the code reads the coins in other bits."""
    open_accounts(network)
    misread(other_build, "InferenceServing", 2**92 - 1, misread_as=2**60 - 1)
    with pytest.raises(RehearsalFailed):
        rehearse(network, "inference-v1.0")


def test_a_constructor_argument_can_be_changed_and_is_shown(network: Bench, other_build: Path) -> None:
    rebuild(other_build, "LedgerManager")

    async def work(chain: AsyncConnection) -> Rehearsal:
        made = await plan_upgrade(
            chain, network.record(), "ledger", network.owner.address, arguments={"minAccountBalance": str(10**18)}
        )
        return await rehearse_upgrade(chain, network.record(), made)

    assert network.run(work).settings == ("ledger.MIN_ACCOUNT_BALANCE(): 3 coins -> 1 coin",)


def test_rollback_is_one_command(network: Bench, other_build: Path) -> None:
    open_accounts(network)
    first = running(network)
    rebuild(other_build, "LedgerManager")
    upgrade(network)
    second = running(network)
    assert second != first

    async def rehearsed(chain: AsyncConnection) -> Rehearsal:
        made = await plan_rollback(chain, network.record(), "ledger", network.owner.address)
        return await rehearse_upgrade(chain, network.record(), made)

    network.run(rehearsed)
    done = upgrade(network, rollback=True)
    assert [step.function for step in done.steps] == ["upgradeTo"]
    assert running(network) == first
    assert [one.address for one in network.record().ledger.former] == [second]
    assert differences(network) == []


def test_there_is_no_rollback_without_an_upgrade(network: Bench) -> None:
    with pytest.raises(PlanRefused, match="no former implementation"):
        upgrade(network, rollback=True)


@pytest.mark.parametrize("after", [False, True], ids=["before it is sent", "when it is sent"])
@pytest.mark.parametrize("nth", [1, 2])
def test_killed_in_the_middle_it_goes_on(network: Bench, other_build: Path, nth: int, after: bool) -> None:
    rebuild(other_build, "LedgerManager")
    nonce = network.nonce(network.owner)
    with pytest.raises(Killed):
        upgrade(network, chain=DyingChain(network.chain, "eth_sendRawTransaction", nth, after=after))
    with pytest.raises(PlanRefused, match="upgrade of ledger is not finished"):
        network.deploy()
    upgrade(network)
    assert network.nonce(network.owner) == nonce + 2
    assert release(network) == 2
    assert differences(network) == []


def given_away(bench: Bench) -> None:
    """The ledger's upgrades belong to somebody else."""

    async def work(chain: AsyncConnection) -> Done:
        file = bench.file()
        plan = await plan_transfer(
            chain,
            file.record,
            bench.owner.address,
            bench.upgrade_owner.address,
            kinds=("upgrade",),
            names=("ledger",),
            two_steps=False,
        )
        return await carry_out(chain, bench.owner, file, plan)

    bench.run(work)


def test_a_foreign_upgrade_owner_gets_an_instruction_and_the_record_follows(
    network: Bench, other_build: Path, tmp_path: Path
) -> None:
    given_away(network)
    first = running(network)
    rebuild(other_build, "LedgerManager")
    (instruction,) = upgrade(network).instructions
    record = network.record()
    prepared = record.ledger.prepared
    assert prepared is not None
    assert running(network) == first
    assert (instruction.sender, instruction.to, instruction.function, instruction.arguments) == (
        network.upgrade_owner.address,
        record.ledger.beacon.address,
        "upgradeTo",
        [prepared.address],
    )
    assert instruction.data == "0x3659cfe6" + prepared.address[2:].lower().rjust(64, "0")

    paths = write_files([instruction], record, tmp_path / "instructions", created_at_ms=1)
    assert [path.name for path in paths] == ["ledger-upgrade.txt", f"safe-{network.upgrade_owner.address}.json"]
    assert paths[0].read_text() == text(instruction, record)
    assert instruction.data in paths[0].read_text()
    content = json.loads(paths[1].read_text())
    assert content["meta"]["checksum"] == checksum(content)
    (call,) = content["transactions"]
    assert (call["to"], call["contractMethod"]["name"]) == (record.ledger.beacon.address, "upgradeTo")
    assert call["contractInputsValues"] == {"newImplementation": prepared.address}

    assert [said for _, said in network.run(lambda chain: look_after(chain, network.file()))] == ["not yet"]
    data = bytes.fromhex(instruction.data.removeprefix("0x"))
    network.run(lambda chain: chain.send(network.upgrade_owner, instruction.to, data))
    assert [said for _, said in network.run(lambda chain: look_after(chain, network.file()))] == ["done"]
    assert network.record().ledger.implementation == prepared
    assert release(network) == 2
    assert differences(network) == []


def test_something_else_than_instructed_is_told(network: Bench, other_build: Path) -> None:
    given_away(network)
    rebuild(other_build, "LedgerManager")
    (instruction,) = upgrade(network).instructions
    other = network.record().contracts["inference-v1.0"].implementation.address
    data = load(BEACON).interface.encode("upgradeTo", other)
    network.run(lambda chain: chain.send(network.upgrade_owner, instruction.to, data))
    (state,) = [said for _, said in network.run(lambda chain: look_after(chain, network.file()))]
    assert state == f"another implementation runs: {other}"


def test_the_wrong_key_deploys_nothing_that_it_could_use(network: Bench, other_build: Path) -> None:
    """A stranger may deploy code, as anybody may; the front keeps running what it ran."""
    rebuild(other_build, "LedgerManager")
    first = running(network)
    done = upgrade(network, account=network.stranger)
    assert [step.action for step in done.steps] == ["create"]
    assert [one.sender for one in done.instructions] == [network.owner.address]
    assert running(network) == first


def test_an_implementation_that_nobody_recorded_stops_everything(network: Bench, other_build: Path) -> None:
    rebuild(other_build, "LedgerManager")
    beacon = network.record().ledger.beacon.address
    other = network.record().contracts["inference-v1.0"].implementation.address
    data = load(BEACON).interface.encode("upgradeTo", other)
    network.run(lambda chain: chain.send(network.owner, beacon, data))
    with pytest.raises(NotAsRecorded, match="the beacon runs"):
        upgrade(network)


def test_our_code_does_not_go_behind_a_beacon_of_the_live_network(network: Bench, other_build: Path) -> None:
    """Their fronts and beacons are OpenZeppelin's: other code, and behind them storage in another order."""
    rebuild(other_build, "LedgerManager")
    front = network.record().ledger.front.address
    theirs = EmbeddedChain()
    theirs.request("anvil_setCode", [front, "0x608060405236601057600e6013565b005b600e"])

    async def work(chain: AsyncConnection) -> None:
        await check_beacon(chain, front, network.record().ledger.beacon.address)

    with pytest.raises(ForeignProxy, match="is not a front that this project built"):
        network.run(work, theirs)
    network.chain.request("anvil_setCode", [front, "0x608060405236601057600e6013565b005b600e"])
    nonce = network.nonce(network.owner)
    with pytest.raises(ForeignProxy):
        upgrade(network)
    assert network.nonce(network.owner) == nonce


def test_a_front_of_another_beacon_is_refused(network: Bench) -> None:
    record = network.record()

    async def work(chain: AsyncConnection) -> None:
        await check_beacon(chain, record.ledger.front.address, record.contracts["inference-v1.0"].beacon.address)

    with pytest.raises(ForeignProxy, match="uses another beacon"):
        network.run(work)
