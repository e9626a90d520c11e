# SPDX-License-Identifier: Apache-2.0
"""acknowledgeTEESignerByOwner"""

import pytest

from tests.unit.contract import Contract, error, event
from tests.unit.fine_tuning.world import OTHER_TEE, World

NOBODY = "0x" + "00" * 20


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("named", [False, True])
def test_confirms(serving: Contract, owner: str, provider: str, tee_signer: str, named: bool) -> None:
    arguments = [provider, tee_signer] if named else [provider]
    done = serving.send("acknowledgeTEESignerByOwner", *arguments, sender=owner)
    assert done.result is None
    assert done.events == [
        event("ProviderTEESignerAcknowledged", provider=provider, teeSignerAddress=tee_signer, acknowledged=True)
    ]
    assert serving.ask("getService", provider)["teeSignerAcknowledged"]


def test_checks_in_order(
    world: World, serving: Contract, owner: str, provider: str, stranger: str, tee_signer: str
) -> None:
    other = OTHER_TEE.address
    for sender in (stranger, provider):
        assert serving.refused("acknowledgeTEESignerByOwner", provider, other, sender=sender) == error(
            "Error", message="Ownable: caller is not the owner"
        )
    assert serving.refused("acknowledgeTEESignerByOwner", provider, other, sender=owner) == error(
        "ServiceNotExist", provider=provider
    )
    world.register(provider)
    assert serving.refused("acknowledgeTEESignerByOwner", provider, other, sender=owner) == error(
        "UnexpectedTEESigner", provider=provider, expected=other, actual=tee_signer
    )
    assert not serving.ask("getService", provider)["teeSignerAcknowledged"]


@pytest.mark.usefixtures("confirmed")
def test_may_be_repeated(serving: Contract, owner: str, provider: str) -> None:
    assert len(serving.send("acknowledgeTEESignerByOwner", provider, sender=owner).events) == 1
    assert serving.ask("getService", provider)["teeSignerAcknowledged"]


def test_a_signer_of_zero_can_be_confirmed_and_settles_nothing(
    world: World, serving: Contract, user: str, provider: str
) -> None:
    world.register(provider, teeSignerAddress=NOBODY)
    world.confirm(provider)
    assert serving.ask("getService", provider)["teeSignerAcknowledged"]
    world.open(user, provider)
    world.deliver("task")
    signed = world.settlement("task", secret=b"").with_signature(bytes(65))
    assert serving.refused("settleFees", signed, sender=provider) == error(
        "InvalidVerifierInput", reason="TEE signer not acknowledged"
    )
