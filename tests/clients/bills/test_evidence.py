# SPDX-License-Identifier: Apache-2.0
"""What the chain says about a bill, read from a real one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serving_network.clients.bills.evidence import Evidence, read_evidence
from serving_network.errors import UnknownName
from serving_network.store.bills import BillIdentity
from serving_network.testing import LocalNetwork
from tests.clients.network_fixture import World


def identity_in(world: World) -> BillIdentity:
    contract = world.user.service().address
    return BillIdentity(31337, contract, world.provider.address, world.user.address)


def read(world: World, identity: BillIdentity) -> Evidence:
    return world.user.runner.run(read_evidence(world.user.core, identity))


def test_prices_and_signers_have_the_times_at_which_they_changed(world: World) -> None:
    first, second = world.tee_signer.address, LocalNetwork.signer(5).address
    world.with_account()
    world.network.travel(100)
    world.provider.update(world.offer(input_price=7, additional_info='{"cacheTokenBilling": {"divisor": 4}}'))
    world.network.travel(100)
    world.owner.confirm(world.provider.address)
    world.provider.update(world.offer(tee_signer=second))
    world.owner.confirm(world.provider.address)
    world.owner.revoke(world.provider.address)
    evidence = read(world, identity_in(world))
    assert [(one.input_price, one.cached_divisor) for one in evidence.prices] == [(100, 1), (7, 4), (100, 1)]
    assert [one.signer for one in evidence.signers] == [first, first, second]
    assert evidence.prices[-1].period.until is None
    assert evidence.signers[-1].period.until is not None
    starts = [one.period.since for one in evidence.prices]
    assert starts[1] - starts[0] >= 100
    assert [one.period.until for one in evidence.prices[:2]] == starts[1:]
    assert (evidence.timed, evidence.settled) == (False, ())


def test_a_bill_of_another_contract(world: World) -> None:
    world.with_account()
    with pytest.raises(UnknownName):
        read(world, replace(identity_in(world), contract=world.user.address))
