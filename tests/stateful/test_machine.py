# SPDX-License-Identifier: Apache-2.0
"""A short run of the state machine, for every `make test`. `make campaign` is the long one."""

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.evm import Evm
from tests.stateful import revm
from tests.stateful.machine import ServingMachine
from tests.stateful.model import Mood
from tests.stateful.world import ALL_SERVICES, FINE_TUNING, INFERENCE, LEDGER, World
from tests.unit.contract import COIN


def run(evm: type[Evm], *, sequences: int, steps: int) -> None:
    machine = seed(20261122)(type("ServingMachine", (ServingMachine,), {"evm": evm}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=sequences,
            stateful_step_count=steps,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )


@pytest.mark.skipif(not revm.available, reason="pyrevm has no wheel for this Python")
def test_contracts_do_what_the_model_says_and_every_invariant_holds() -> None:
    run(revm.Revm, sequences=40, steps=50)


def test_the_same_on_the_reference_evm() -> None:
    run(Evm, sequences=1, steps=25)


@pytest.mark.skipif(not revm.available, reason="pyrevm has no wheel for this Python")
def test_both_evms_give_the_same_results_events_and_balances() -> None:
    """The campaign runs on revm; what it shows must hold on the EVM that the other tests use."""
    fast, reference = _story(revm.Revm), _story(Evm)
    assert fast == reference


def _story(evm: type[Evm]) -> list[object]:
    """One of everything: what it returned and emitted, and the coins of every contract after it."""
    world = World(evm())
    user, provider = world.users[2], world.providers[1]
    signer = next(iter(world.tee_signers))
    seen: list[object] = []

    def do(where: str, name: str, *args: object, sender: str, value: int = 0) -> None:
        said = repr(world.do(where, name, *args, sender=sender, value=value))
        for contract, address in world.addresses.items():  # revm does not count the deployer's nonces
            said = said.replace(address, contract)
        seen.append(said)
        seen.append([world.coins(contract) for contract in (LEDGER, *ALL_SERVICES)])
        world.compare()

    terms = {
        "serviceType": "chatbot",
        "url": "https://provider",
        "model": "m",
        "verifiability": "TeeML",
        "inputPrice": 1,
        "outputPrice": 2,
        "additionalInfo": "",
        "teeSignerAddress": signer,
    }
    do(INFERENCE, "addOrUpdateService", terms, sender=provider, value=100 * COIN)
    do(INFERENCE, "acknowledgeTEESignerByOwner", provider, signer, sender=world.owner)
    do(LEDGER, "addLedger", "a note", sender=user, value=10 * COIN)
    do(LEDGER, "transferFund", provider, INFERENCE, 2 * COIN, sender=user)
    do(LEDGER, "transferFund", provider, FINE_TUNING, COIN, sender=user)
    do(FINE_TUNING, "addDeliverable", user, "first", b"root", sender=provider)
    do(FINE_TUNING, "addDeliverable", user, "second", b"root", sender=provider)
    do(LEDGER, "retrieveFund", [provider], INFERENCE, sender=user)
    world.wait(86_400)
    do(LEDGER, "retrieveFund", [provider], INFERENCE, sender=user)
    world.set_mood(provider, Mood(to=world.addresses[INFERENCE], name="removeService"))
    do(INFERENCE, "removeService", sender=provider)
    world.set_mood(user, Mood(refuses=True))
    do(LEDGER, "refundAll", sender=user)
    return seen
