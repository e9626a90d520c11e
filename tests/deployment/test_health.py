# SPDX-License-Identifier: Apache-2.0
"""Whether a network is well, and what is said when it is not."""

import re

from serving_network.contracts import load
from serving_network.deployment.health import Health, Level, examine, prometheus
from serving_network.deployment.record import Record

from .conftest import Bench
from .people import COIN, open_accounts, send
from .test_ownership import hand_over


def health(bench: Bench, record: Record | None = None) -> Health:
    return bench.run(lambda chain: examine(chain, record or bench.record()))


def test_a_network_in_use_is_well_and_its_books_balance(network: Bench) -> None:
    open_accounts(network)
    found = health(network)
    assert found.symptoms == ()
    assert found.level is Level.WELL
    assert found.books is not None
    assert found.books.total == 2 * (10 * COIN + 7)
    assert found.books.in_accounts == 2 * (4 * COIN + 3)


def test_a_provider_that_waits_for_confirmation_is_a_warning(network: Bench) -> None:
    open_accounts(network)
    front = network.record().contracts["inference-v1.0"].front.address
    network.run(
        lambda chain: send(
            chain, network.owner, "InferenceServing", front, "revokeTEESignerAcknowledgement", network.provider.address
        )
    )
    found = health(network)
    assert found.pending_confirmations == {"inference-v1.0": 1, "fine-tuning-v1.1": 0}
    assert [(one.check, one.subject) for one in found.symptoms] == [("confirmations", "inference-v1.0")]
    assert found.level is Level.WARNING


def test_an_owner_that_nobody_recorded_is_a_failure(network: Bench) -> None:
    front = network.record().ledger.front.address
    network.run(
        lambda chain: send(chain, network.owner, "LedgerManager", front, "transferOwnership", network.stranger.address)
    )
    (symptom,) = health(network).symptoms
    assert (symptom.level, symptom.check, symptom.subject) == (Level.FAILURE, "as_recorded", "ledger owner")
    assert network.stranger.address in symptom.says


def test_an_implementation_that_nobody_recorded_is_a_failure(network: Bench) -> None:
    record = network.record()
    other = record.contracts["inference-v1.0"].implementation.address
    data = load("UpgradeableBeacon").interface.encode("upgradeTo", other)
    network.run(lambda chain: chain.send(network.owner, record.contracts["fine-tuning-v1.1"].beacon.address, data))
    assert "fine-tuning-v1.1 runs the implementation" in {
        one.subject for one in health(network).symptoms if one.level is Level.FAILURE
    }


def test_coins_that_are_missing_are_a_failure(network: Bench) -> None:
    open_accounts(network)
    ledger = network.record().ledger.front.address
    holds = int(network.chain.request("eth_getBalance", [ledger, "latest"]), 16)
    network.chain.request("anvil_setBalance", [ledger, hex(holds - 1)])
    (symptom,) = health(network).symptoms
    assert (symptom.level, symptom.check) == (Level.FAILURE, "books")
    assert symptom.says == ("the ledger holds 12.000000000000000007 coins and owes 12.000000000000000008 coins")


def test_a_stake_that_is_missing_is_a_failure(network: Bench) -> None:
    open_accounts(network)
    service = network.record().contracts["inference-v1.0"].front.address
    holds = int(network.chain.request("eth_getBalance", [service, "latest"]), 16)
    network.chain.request("anvil_setBalance", [service, hex(holds - 1)])
    assert [one.check for one in health(network).symptoms] == ["books"]


def test_a_registered_service_that_does_not_answer_is_a_warning(network: Bench) -> None:
    record = network.record()
    gone = record.contracts.pop("fine-tuning-v1.1")
    network.chain.request("anvil_setCode", [gone.front.address, "0x"])
    checks = {one.check for one in health(network, record).symptoms}
    assert "service_silent" in checks


def test_an_offer_of_ownership_is_one_warning(network: Bench) -> None:
    hand_over(network, network.upgrade_owner, kinds=("business", "upgrade"), names=("ledger",), two_steps=True)
    found = health(network)
    assert [(one.check, one.subject) for one in found.symptoms] == [
        ("ownership_offered", "ledger business"),
        ("ownership_offered", "ledger upgrade"),
    ]
    assert found.level is Level.WARNING


def test_an_instruction_to_accept_what_is_offered_to_another_account_by_now_is_a_warning(network: Bench) -> None:
    hand_over(network, network.upgrade_owner, kinds=("upgrade",), names=("ledger",), two_steps=True)
    record = network.record()
    (instruction,) = record.open_instructions
    instruction.sender = network.stranger.address
    assert [one.check for one in health(network, record).symptoms] == ["ownership_offered", "instruction_open"]


def test_the_metrics_are_what_prometheus_reads(network: Bench) -> None:
    open_accounts(network)
    text = prometheus(health(network))
    sample = re.compile(r'[a-z_]+\{[a-z]+="[^"\n]*"(,[a-z]+="[^"\n]*")*\} \d+')
    lines = text.splitlines()
    assert all(line.startswith("# ") or sample.fullmatch(line) for line in lines)
    assert 'serving_health_level{network="net"} 0' in lines
    assert f'serving_owed_wei{{network="net",contract="ledger"}} {2 * (6 * COIN + 4)}' in lines
    assert 'serving_symptoms{network="net",check="books"} 0' in lines
    assert len({line for line in lines if line.startswith("# TYPE")}) == text.count("# TYPE")
