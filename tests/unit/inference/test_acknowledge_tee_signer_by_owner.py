# SPDX-License-Identifier: Apache-2.0
"""acknowledgeTEESignerByOwner, revokeTEESignerAcknowledgement"""

import pytest

from tests.unit.contract import Contract, error, event
from tests.unit.inference.world import OTHER_TEE, World

NOT_OWNER = error("Error", message="Ownable: caller is not the owner")
NOBODY = "0x" + "00" * 20


@pytest.mark.parametrize("naming", [False, True])
def test_confirms_the_signer(
    world: World, serving: Contract, owner: str, provider: str, tee_signer: str, naming: bool
) -> None:
    world.register()
    arguments = [provider, tee_signer] if naming else [provider]
    for _ in range(2):
        done = serving.send("acknowledgeTEESignerByOwner", *arguments, sender=owner)
        assert done.events == [
            event("ProviderTEESignerAcknowledged", provider=provider, teeSignerAddress=tee_signer, acknowledged=True)
        ]
        assert serving.ask("getService", provider)["teeSignerAcknowledged"] is True


def test_takes_it_back(world: World, serving: Contract, owner: str, provider: str, tee_signer: str) -> None:
    world.register()
    world.confirm()
    for _ in range(2):
        done = serving.send("revokeTEESignerAcknowledgement", provider, sender=owner)
        assert done.events == [
            event("ProviderTEESignerAcknowledged", provider=provider, teeSignerAddress=tee_signer, acknowledged=False)
        ]
        assert serving.ask("getService", provider)["teeSignerAcknowledged"] is False


def test_only_the_owner(world: World, serving: Contract, provider: str, tee_signer: str, stranger: str) -> None:
    world.register()
    for caller in (stranger, provider, world.ledger):
        assert serving.refused("acknowledgeTEESignerByOwner", provider, sender=caller) == NOT_OWNER
        assert serving.refused("acknowledgeTEESignerByOwner", provider, tee_signer, sender=caller) == NOT_OWNER
        assert serving.refused("revokeTEESignerAcknowledgement", provider, sender=caller) == NOT_OWNER


def test_needs_a_service(serving: Contract, owner: str, provider: str, tee_signer: str) -> None:
    expected = error("ServiceNotExist", provider=provider)
    assert serving.refused("acknowledgeTEESignerByOwner", provider, sender=owner) == expected
    assert serving.refused("acknowledgeTEESignerByOwner", provider, tee_signer, sender=owner) == expected
    assert serving.refused("revokeTEESignerAcknowledgement", provider, sender=owner) == expected


def test_a_signer_changed_just_before_is_not_confirmed(
    world: World, serving: Contract, owner: str, provider: str, tee_signer: str
) -> None:
    world.register()
    world.update(teeSignerAddress=OTHER_TEE.address)
    assert serving.refused("acknowledgeTEESignerByOwner", provider, tee_signer, sender=owner) == error(
        "UnexpectedTEESigner", provider=provider, expected=tee_signer, actual=OTHER_TEE.address
    )
    assert serving.ask("getService", provider)["teeSignerAcknowledged"] is False


def test_naming_nobody_is_naming_none(world: World, serving: Contract, owner: str, provider: str) -> None:
    world.register()
    serving.send("acknowledgeTEESignerByOwner", provider, NOBODY, sender=owner)
    assert serving.ask("getService", provider)["teeSignerAcknowledged"] is True
