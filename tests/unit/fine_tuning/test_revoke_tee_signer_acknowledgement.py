# SPDX-License-Identifier: Apache-2.0
"""revokeTEESignerAcknowledgement"""

import pytest

from tests.unit.contract import Contract, error, event
from tests.unit.fine_tuning.world import STAKE, World


@pytest.mark.usefixtures("confirmed")
def test_takes_the_confirmation_back(serving: Contract, owner: str, provider: str, tee_signer: str) -> None:
    done = serving.send("revokeTEESignerAcknowledgement", provider, sender=owner)
    assert done.result is None
    assert done.events == [
        event("ProviderTEESignerAcknowledged", provider=provider, teeSignerAddress=tee_signer, acknowledged=False)
    ]
    assert not serving.ask("getService", provider)["teeSignerAcknowledged"]


def test_checks_in_order(serving: Contract, owner: str, provider: str, stranger: str) -> None:
    assert serving.refused("revokeTEESignerAcknowledgement", provider, sender=stranger) == error(
        "Error", message="Ownable: caller is not the owner"
    )
    assert serving.refused("revokeTEESignerAcknowledgement", provider, sender=owner) == error(
        "ServiceNotExist", provider=provider
    )


@pytest.mark.usefixtures("ready")
def test_stops_settlements_at_once(world: World, serving: Contract, owner: str, provider: str) -> None:
    world.deliver("task")
    world.acknowledge("task")
    settlement = world.settlement("task")
    serving.send("revokeTEESignerAcknowledgement", provider, sender=owner)
    refused = serving.refused("settleFees", settlement.signed(serving.address), sender=provider)
    assert refused == error("InvalidVerifierInput", reason="TEE signer not acknowledged")
    world.confirm(provider)
    world.settle(settlement)


@pytest.mark.usefixtures("confirmed")
def test_leaves_stake_and_signer(world: World, serving: Contract, owner: str, provider: str, tee_signer: str) -> None:
    serving.send("revokeTEESignerAcknowledgement", provider, sender=owner)
    assert serving.ask("getService", provider)["teeSignerAddress"] == tee_signer
    before = world.evm.balance(provider)
    serving.send("removeService", sender=provider)
    assert world.evm.balance(provider) == before + STAKE
