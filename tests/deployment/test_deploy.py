# SPDX-License-Identifier: Apache-2.0
"""Deploying a network: what lands where, what the record says of it, and what must not happen."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.contract import Contract
from serving_network.deployment.check import Finding, check_record
from serving_network.deployment.deploy import new_record, plan_deployment
from serving_network.deployment.engine import RunOptions, carry_out
from serving_network.deployment.errors import NotAsRecorded, NotTheOwner, PlanRefused, RecordProblem
from serving_network.deployment.instructions import look_after
from serving_network.deployment.local import LOCAL, deploy_local_network
from serving_network.deployment.plan import Done, Plan
from serving_network.deployment.record import Record
from serving_network.deployment.record_file import RecordFile
from serving_network.deployment.rehearsal import rehearse_deployment
from serving_network.deployment.spec import NetworkSpec, ServiceSpec
from serving_network.errors import NotEnoughCoins, TransactionFailure, WrongChain
from serving_network.localchain import EmbeddedChain
from serving_network.wallet.local import LocalSigner

from .conftest import Bench, DyingChain, Killed, LyingChain, new_bench

STEPS = 16
NEXT_VERSION = ServiceSpec(
    contract="InferenceServing",
    type="inference",
    version="v1.1",
    description="the next one",
    lock_time=7200,
    min_provider_stake=10**18,
    clients=">=0.2",
    providers=">=0.2",
)
NEW_SERVICE = ServiceSpec(
    contract="InferenceServing",
    type="speech",
    version="v1.0",
    description="speech",
    lock_time=7200,
    min_provider_stake=10**18,
    recommended=True,
)


def with_service(*services: ServiceSpec) -> NetworkSpec:
    return LOCAL.model_copy(update={"services": (*LOCAL.services, *services)})


def differences(bench: Bench) -> list[Finding]:
    async def work(chain: AsyncConnection) -> list[Finding]:
        return [one for one in await check_record(chain, bench.record()) if one.difference is not None]

    return bench.run(work)


def follow(bench: Bench, who: LocalSigner, done: Done) -> None:
    """Send every call that the instructions ask for, as their calldata says."""

    async def work(chain: AsyncConnection) -> None:
        for one in done.instructions:
            await chain.send(who, one.to, bytes.fromhex(one.data.removeprefix("0x")))

    bench.run(work)


def test_the_fronts_land_where_clients_look_for_a_local_network(bench: Bench) -> None:
    async def work(chain: AsyncConnection) -> Record:
        return await deploy_local_network(chain, bench.owner)

    record = bench.run(work)
    assert {name: contract.front.address for name, contract in record.contracts.items()} == {
        "ledger": "0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0",
        "inference-v1.0": "0x0165878A594ca255338adfa4d48449f69242Eb8F",
        "fine-tuning-v1.1": "0xA51c1fc2f0D1a1b8494Ed1FE312d7C3a78Ed91C0",
    }
    assert bench.nonce(bench.owner) == STEPS


def test_the_record_holds_all_there_is_to_know_and_agrees_with_the_chain(network: Bench) -> None:
    record = network.record()
    inference = record.contracts["inference-v1.0"]
    assert inference.initial == {
        "locktime": "86400",
        "ledgerAddress": record.ledger.front.address,
        "owner": network.owner.address,
    }
    assert inference.implementation.arguments == {"minProviderStake": str(100 * 10**18)}
    assert inference.implementation.compiler["version"].startswith("0.4.3")
    assert inference.implementation.storage_layout["storage_layout"]
    assert inference.registration is not None
    assert inference.registration.recommended
    assert (inference.owner, inference.upgrade_owner) == (network.owner.address, network.owner.address)
    assert record.pending is None
    assert differences(network) == []


def test_everything_is_registered_and_recommended(network: Bench) -> None:
    async def work(chain: AsyncConnection) -> list[Any]:
        ledger = network.record().ledger.front.address
        return [
            await Contract(chain, "LedgerManager", ledger).read("getRecommendedService", kind)
            for kind in ("inference", "fine-tuning")
        ]

    contracts = network.record().contracts
    assert network.run(work) == [
        ("v1.0", contracts["inference-v1.0"].front.address),
        ("v1.1", contracts["fine-tuning-v1.1"].front.address),
    ]


def test_nothing_is_deployed_twice(network: Bench) -> None:
    before = network.path.read_bytes()
    assert network.deploy().steps == ()
    assert network.nonce(network.owner) == STEPS
    assert network.path.read_bytes() == before


def test_a_lost_record_does_not_become_a_second_network(network: Bench) -> None:
    network.path.unlink()
    with pytest.raises(PlanRefused, match="has deployed on this chain before"):
        network.deploy()
    assert network.nonce(network.owner) == STEPS


def test_a_new_version_stands_beside_the_old_one_and_does_not_touch_it(network: Bench) -> None:
    before = network.record().contracts
    done = network.deploy(with_service(NEXT_VERSION))
    after = network.record()
    assert [step.id for step in done.steps] == [
        f"inference-v1.1/{part}" for part in ("implementation", "beacon", "front", "attach", "register")
    ]
    assert {name: after.contracts[name] for name in before} == before
    added = after.contracts["inference-v1.1"]
    assert (added.clients, added.providers) == (">=0.2", ">=0.2")
    assert added.registration is not None
    assert not added.registration.recommended
    assert differences(network) == []


def test_a_new_service_is_registered_and_recommended_in_its_own_type(network: Bench) -> None:
    network.deploy(with_service(NEW_SERVICE))
    registered = {
        name: one.registration.recommended
        for name, one in network.record().services.items()
        if one.registration is not None
    }
    assert registered == {"inference-v1.0": True, "fine-tuning-v1.1": True, "speech-v1.0": True}
    assert differences(network) == []


def test_recommending_the_next_version_takes_the_flag_from_the_former(network: Bench) -> None:
    old, tuning = LOCAL.services
    spec = LOCAL.model_copy(
        update={
            "services": (
                old.model_copy(update={"recommended": False}),
                tuning,
                NEXT_VERSION.model_copy(update={"recommended": True}),
            )
        }
    )
    network.deploy(spec)
    flags = {
        name: one.registration.recommended
        for name, one in network.record().services.items()
        if one.registration is not None
    }
    assert flags == {"inference-v1.0": False, "fine-tuning-v1.1": True, "inference-v1.1": True}
    assert differences(network) == []


SEND, READ = "eth_sendRawTransaction", "eth_getTransactionReceipt"
Moment = tuple[str, int, bool]
"""Before (False) or after (True) the chain did what the nth call of a method asks for."""


@dataclass
class Watched:
    """A chain that keeps, for each moment at which its caller could be killed, what would be left: a copy of the chain,
    and the record."""

    bench: Bench
    left: dict[Moment, tuple[EmbeddedChain, bytes]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)

    def request(self, method: str, params: list[Any]) -> Any:
        if method not in (SEND, READ):
            return self.bench.chain.request(method, params)
        self.calls[method] += 1
        self._keep((method, self.calls[method], False))
        answer = self.bench.chain.request(method, params)
        self._keep((method, self.calls[method], True))
        return answer

    def _keep(self, moment: Moment) -> None:
        self.left[moment] = self.bench.chain.copy(), self.bench.path.read_bytes()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """One deployment."""
    made = Watched(new_bench(EmbeddedChain(), tmp_path_factory.mktemp("watched")))
    made.bench.deploy(chain=made)
    return made


def killed(watched: Watched, moment: Moment, folder: Path) -> Bench:
    """What the deployment leaves behind if it is killed at that moment."""
    chain, record = watched.left[moment]
    bench = new_bench(chain.copy(), folder)
    bench.path.write_bytes(record)
    assert bench.record().pending is not None
    return bench


@pytest.mark.parametrize("after", [False, True], ids=["before it is sent", "when it is sent"])
@pytest.mark.parametrize("nth", range(1, STEPS + 1))
def test_killed_at_any_transaction_it_goes_on_with_the_very_same_one(
    watched: Watched, tmp_path: Path, nth: int, after: bool
) -> None:
    bench = killed(watched, (SEND, nth, after), tmp_path)
    assert bench.nonce(bench.owner) == nth - 1 + after
    bench.deploy()
    assert bench.nonce(bench.owner) == STEPS
    assert bench.record().contracts["fine-tuning-v1.1"].front.address == "0xA51c1fc2f0D1a1b8494Ed1FE312d7C3a78Ed91C0"
    assert differences(bench) == []


@pytest.mark.parametrize("nth", range(1, 2 * STEPS, 3))
def test_killed_before_a_receipt_is_read_nothing_is_sent_again(watched: Watched, tmp_path: Path, nth: int) -> None:
    bench = killed(watched, (READ, nth, True), tmp_path)
    bench.deploy()
    assert bench.nonce(bench.owner) == STEPS
    assert differences(bench) == []


def test_a_nonce_taken_by_another_transaction_moves_the_addresses_and_nothing_else(bench: Bench) -> None:
    with pytest.raises(Killed):
        bench.deploy(chain=DyingChain(bench.chain, "eth_sendRawTransaction", 3, after=False))
    bench.run(lambda chain: chain.send(bench.owner, bench.stranger.address, b"", value=1))
    bench.deploy()
    assert bench.nonce(bench.owner) == STEPS + 1
    assert bench.record().ledger.front.address != "0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0"
    assert differences(bench) == []


def test_what_was_begun_cannot_be_taken_out_of_the_file(bench: Bench) -> None:
    with pytest.raises(Killed):
        bench.deploy(chain=DyingChain(bench.chain, "eth_sendRawTransaction", 5, after=True))
    with pytest.raises(PlanRefused, match=r"deployment of fine-tuning-v1\.1 is not finished"):
        bench.deploy(LOCAL.model_copy(update={"services": LOCAL.services[:1]}))
    bench.deploy()
    assert bench.nonce(bench.owner) == STEPS


def test_what_the_file_gains_meanwhile_is_deployed_by_the_next_run(network: Bench) -> None:
    later = NEXT_VERSION.model_copy(update={"version": "v1.2"})
    dying = DyingChain(network.chain, "eth_sendRawTransaction", 2, after=True)
    with pytest.raises(Killed):
        network.deploy(with_service(NEXT_VERSION), dying, network.stranger)
    done = network.deploy(with_service(NEXT_VERSION, later), account=network.stranger)
    assert [one.id for one in done.instructions] == ["inference-v1.1/register"]
    done = network.deploy(with_service(NEXT_VERSION, later), account=network.stranger)
    assert [one.id for one in done.instructions] == ["inference-v1.1/register", "inference-v1.2/register"]


def test_a_deployment_that_nobody_could_pay_for_can_be_made_with_another_key(bench: Bench) -> None:
    with pytest.raises(NotEnoughCoins):
        bench.deploy(account=LocalSigner.create())
    assert bench.record().pending is None
    bench.deploy()
    assert bench.record().deployer == bench.owner.address


def test_only_the_key_that_began_can_go_on(bench: Bench) -> None:
    with pytest.raises(Killed):
        bench.deploy(chain=DyingChain(bench.chain, "eth_sendRawTransaction", 5, after=True))
    with pytest.raises(NotTheOwner, match=bench.owner.address):
        bench.deploy(account=bench.stranger)
    assert bench.nonce(bench.stranger) == 0


def test_a_chain_of_another_id_is_refused(bench: Bench) -> None:
    with pytest.raises(WrongChain, match="serves chain 1, not chain 31337"):
        bench.deploy(chain=EmbeddedChain(chain_id=1))


def test_a_node_that_lies_about_the_chain_id_takes_nothing(bench: Bench) -> None:
    """It claims to be our chain, so we sign for ours: whatever chain it really serves refuses the signature."""
    other = EmbeddedChain(chain_id=16661)
    with pytest.raises(TransactionFailure, match="invalid chain id for signer"):
        bench.deploy(chain=LyingChain(other, {"eth_chainId": hex(31337)}))
    assert other.request("eth_blockNumber", []) == "0x0"


def test_another_chain_of_the_same_number_is_refused_once_there_is_a_record(network: Bench) -> None:
    other = EmbeddedChain(genesis_time=1)
    with pytest.raises(PlanRefused, match="another chain with the id 31337"):
        network.deploy(with_service(NEXT_VERSION), chain=other)
    assert other.request("eth_blockNumber", []) == "0x0"


def test_a_ledger_of_another_owner_leaves_them_an_instruction(bench: Bench) -> None:
    ledger = LOCAL.ledger.model_copy(
        update={"owner": bench.stranger.address, "upgrade_owner": bench.upgrade_owner.address}
    )
    spec = LOCAL.model_copy(update={"ledger": ledger})
    done = bench.deploy(spec)
    assert [one.id for one in done.instructions] == [
        "inference-v1.0/register",
        "inference-v1.0/recommend",
        "fine-tuning-v1.1/register",
        "fine-tuning-v1.1/recommend",
    ]
    assert bench.record().ledger.upgrade_owner == bench.upgrade_owner.address
    follow(bench, bench.stranger, done)
    said = bench.run(lambda chain: look_after(chain, bench.file()))
    assert [state for _, state in said] == ["done"] * 4
    assert bench.record().open_instructions == []
    assert differences(bench) == []


def test_a_plan_shows_addresses_and_gas_and_sends_nothing(bench: Bench) -> None:
    async def plan(chain: AsyncConnection) -> tuple[Plan, dict[str, int], dict[str, str]]:
        record = await new_record(chain, "net", LOCAL, bench.owner.address)
        plan = await plan_deployment(chain, LOCAL, record, bench.owner.address)
        return plan, *await rehearse_deployment(chain, record, plan)

    made, gas, addresses = bench.run(plan)
    assert bench.nonce(bench.owner) == 0
    done = bench.deploy()
    assert {step.id: step.mined.gas_used for step in done.steps if step.mined} == gas
    assert {step.id: step.address for step in done.steps if step.address} == addresses
    assert [step.id for step in made.steps] == [step.id for step in done.steps]


def test_what_a_deployment_cannot_change_is_told(network: Bench) -> None:
    ledger = LOCAL.ledger.model_copy(update={"min_account_balance": 1, "owner": network.stranger.address})
    spec = NetworkSpec(chain_id=31337, ledger=ledger, services=LOCAL.services[:1])

    async def work(chain: AsyncConnection) -> Plan:
        return await plan_deployment(chain, spec, network.record(), network.owner.address)

    plan = network.run(work)
    assert plan.steps == ()
    assert plan.notes[0].endswith(" 1 wei: serving upgrade apply ledger --argument minAccountBalance=1")
    assert [note.partition(":")[0].partition(",")[0] for note in plan.notes] == [
        "ledger was built with minAccountBalance=3 coins",
        f"ledger belongs to {network.owner.address}",
        "fine-tuning-v1.1 is deployed but not in the file; nothing changes",
    ]


def test_two_runs_on_one_record_do_not_meet(network: Bench) -> None:
    with network.file().locked(), pytest.raises(RecordProblem, match="Another run is at work"):
        network.deploy()


def test_the_work_is_final_only_when_it_is_deep_enough(bench: Bench) -> None:
    spec = LOCAL.model_copy(update={"confirmations": 3})
    with pytest.raises(Exception, match="not 3 blocks deep"):
        bench.deploy(spec)
    assert bench.record().pending is not None
    bench.chain.request("anvil_mine", ["0x3"])
    bench.deploy(spec)
    assert bench.record().pending is None
    assert bench.nonce(bench.owner) == STEPS


def test_a_reorganisation_before_it_is_final_sends_the_lost_steps_again(bench: Bench) -> None:
    spec = LOCAL.model_copy(update={"confirmations": 3})
    snapshots: list[Any] = []

    class Reorganising:
        def request(self, method: str, params: list[Any]) -> Any:
            if method == "eth_sendRawTransaction" and len(snapshots) < STEPS:
                snapshots.append(bench.chain.request("evm_snapshot", []))
            return bench.chain.request(method, params)

    with pytest.raises(Exception, match="not 3 blocks deep"):
        bench.deploy(spec, chain=Reorganising())
    bench.chain.request("evm_revert", [snapshots[10]])
    with pytest.raises(Exception, match="not 3 blocks deep"):
        bench.deploy(spec)
    bench.chain.request("anvil_mine", ["0x3"])
    bench.deploy(spec)
    assert bench.nonce(bench.owner) == STEPS
    assert differences(bench) == []


def test_a_record_that_does_not_fit_the_chain_is_told_item_by_item(network: Bench) -> None:
    record = network.record()
    inference = record.contracts["inference-v1.0"]
    inference.owner = network.stranger.address
    inference.implementation = inference.implementation.model_copy(update={"code_hash": "0x" + "11" * 32})

    async def work(chain: AsyncConnection) -> list[str]:
        return [one.item for one in await check_record(chain, record) if one.difference is not None]

    assert network.run(work) == ["inference-v1.0 implementation", "inference-v1.0 owner"]


def test_a_node_that_shows_other_code_than_was_created_is_found_out(bench: Bench) -> None:
    with pytest.raises(NotAsRecorded, match="has other code than LedgerManager"):
        bench.deploy(chain=_OtherCode(bench.chain))
    assert bench.record().pending is not None


class _OtherCode:
    """A node that shows one and the same code wherever there is code."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self._chain = chain

    def request(self, method: str, params: list[Any]) -> Any:
        answer = self._chain.request(method, params)
        return "0x6001" if method == "eth_getCode" and answer != "0x" else answer


def test_an_in_memory_record_touches_no_file(bench: Bench) -> None:
    async def work(chain: AsyncConnection) -> None:
        file = RecordFile(None, await new_record(chain, "net", LOCAL, bench.owner.address))
        plan = await plan_deployment(chain, LOCAL, file.record, bench.owner.address)
        await carry_out(chain, bench.owner, file, plan, RunOptions(estimate=False))

    bench.run(work)
    assert list(bench.folder.iterdir()) == []
