# SPDX-License-Identifier: Apache-2.0
"""The owner's client, on the real contracts."""

from __future__ import annotations

import pytest

from serving_network.clients import Owner
from serving_network.clients.owner import SignerOfAnother
from serving_network.contracts.errors import (
    CallerNotOfferedOwner,
    CallerNotOwner,
    LockTimeOutOfRange,
    PenaltyPercentageTooHigh,
    ServiceMustImplementIServing,
    ServiceNotExist,
    ServiceNotFound,
    UnexpectedTEESigner,
)
from tests.clients.network_fixture import World, signer


def test_waiting_providers_are_shown_and_confirmed(world: World) -> None:
    assert world.owner.waiting() == []
    world.provider.register(world.offer())
    (waiting,) = world.owner.waiting()
    assert waiting.offer == world.offer()
    world.owner.confirm(world.provider.address)
    assert world.owner.waiting() == []
    world.owner.revoke(world.provider.address)
    assert len(world.owner.waiting()) == 1


def test_a_replaced_signer_is_not_confirmed(world: World) -> None:
    world.provider.register(world.offer())
    with pytest.raises(UnexpectedTEESigner) as failure:
        world.owner.confirm(world.provider.address, signer=world.stranger.address)
    assert failure.value.actual == world.tee_signer.address
    with pytest.raises(ServiceNotExist):
        world.owner.confirm(world.stranger.address)


def test_a_fine_tuning_signer_of_two_providers_is_confirmed_only_on_request(world: World) -> None:
    for provider in (world.provider, world.other_provider):
        provider.register(world.fine_tuning_offer())
    with pytest.raises(SignerOfAnother) as failure:
        world.owner.confirm(world.provider.address, "fine-tuning")
    assert failure.value.other == world.other_provider.address
    assert world.owner.confirm(world.provider.address, "fine-tuning", shared=True).succeeded
    world.other_provider.update(world.fine_tuning_offer(tee_signer=signer(6).address))
    assert world.owner.confirm(world.other_provider.address, "fine-tuning").succeeded


def test_only_the_owner_can_confirm(world: World) -> None:
    world.provider.register(world.offer())
    with pytest.raises(CallerNotOwner):
        Owner(world.connection, signer(5)).confirm(world.provider.address)


def test_lock_time_and_penalty(world: World) -> None:
    world.owner.set_lock_time(7200)
    assert world.owner.settings()["lockTime"] == 7200
    with pytest.raises(LockTimeOutOfRange) as failure:
        world.owner.set_lock_time(60)
    assert (failure.value.min, failure.value.max) == (3600, 7 * 86400)
    world.owner.set_penalty(50)
    assert world.owner.settings("fine-tuning")["penaltyPercentage"] == 50
    with pytest.raises(PenaltyPercentageTooHigh):
        world.owner.set_penalty(101)


def test_versions(world: World) -> None:
    names = {one.name: one.recommended for one in world.owner.versions()}
    assert names == {"inference-v1.0": True, "fine-tuning-v1.1": True}
    assert [one.version for one in world.owner.versions("fine-tuning")] == ["v1.1"]
    with pytest.raises(ServiceMustImplementIServing):
        world.owner.register_version("inference", "v2.0", world.stranger.address, "")
    with pytest.raises(ServiceNotFound):
        world.owner.recommend("inference", "v9")


def test_ownership_moves_in_two_steps(world: World) -> None:
    new = Owner(world.connection, signer(5))
    world.owner.offer_ownership("ledger", new.address)
    assert world.owner.contract("ledger").name == "LedgerManager"
    with pytest.raises(CallerNotOfferedOwner):
        Owner(world.connection, signer(4)).accept_ownership("ledger")
    new.accept_ownership("ledger")
    with pytest.raises(CallerNotOwner):
        world.owner.recommend("inference", "v1.0")
    new.recommend("inference", "v1.0")


def test_ownership_moves_in_one_step_or_ends(world: World) -> None:
    new = Owner(world.connection, signer(5))
    world.owner.transfer_ownership("inference", new.address)
    new.set_lock_time(3600)
    new.renounce_ownership("inference")
    with pytest.raises(CallerNotOwner):
        new.set_lock_time(7200)
