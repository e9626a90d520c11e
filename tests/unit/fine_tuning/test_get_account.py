# SPDX-License-Identifier: Apache-2.0
"""getAccount"""

import pytest

from tests.evm import GAS_LIMIT
from tests.unit.contract import COIN, Contract, error
from tests.unit.fine_tuning.world import ROOT, SECRET, World


def test_needs_an_account(serving: Contract, user: str, provider: str) -> None:
    assert serving.refused("getAccount", user, provider, sender=user) == error(
        "AccountNotExists", user=user, provider=provider
    )


@pytest.mark.usefixtures("confirmed")
def test_shows_everything(world: World, user: str, provider: str) -> None:
    world.open(user, provider, 9 * COIN, "some words about this account")
    delivered = world.evm.time
    world.deliver("first")
    world.acknowledge("first")
    world.settle(world.settlement("first", nonce=2**64 - 1))
    world.request()
    world.evm.time += 60
    world.deposit(COIN)
    world.request()
    world.deliver("second", root=b"")
    assert world.account() == {
        "user": user,
        "provider": provider,
        "nonce": 2**64 - 1,
        "balance": 9 * COIN,
        "pendingRefund": 9 * COIN,
        "refunds": [
            {"index": 0, "amount": 8 * COIN, "createdAt": delivered, "_deprecated_processed": False},
            {"index": 1, "amount": COIN, "createdAt": delivered + 60, "_deprecated_processed": False},
        ],
        "additionalInfo": "some words about this account",
        "deliverables": [
            {
                "id": "first",
                "modelRootHash": ROOT,
                "encryptedSecret": SECRET,
                "acknowledged": True,
                "timestamp": delivered,
                "settled": True,
            },
            {
                "id": "second",
                "modelRootHash": b"",
                "encryptedSecret": b"",
                "acknowledged": False,
                "timestamp": delivered + 60,
                "settled": False,
            },
        ],
        "validRefundsLength": 2,
        "deliverablesHead": 0,
        "deliverablesCount": 2,
        "acknowledged": True,
    }


@pytest.mark.usefixtures("confirmed")
def test_with_everything_as_long_as_it_may_be(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open(user, provider, 100 * COIN, "i" * 4096)
    ids = [f"{number:03}" + "d" * 253 for number in range(21)]
    for one in ids:
        world.deliver(one, root=b"r" * 1024)
        world.acknowledge(one)
        world.settle(world.settlement(one, root=b"r" * 1024, secret=b"s" * 1024))
    for _ in range(5):
        world.deposit(COIN)
        world.request()
    account = serving.ask("getAccount", user, provider, gas=GAS_LIMIT // 4)
    assert [one["id"] for one in account["deliverables"]] == ids[1:]
    assert {one["encryptedSecret"] for one in account["deliverables"]} == {b"s" * 1024}
    assert {one["modelRootHash"] for one in account["deliverables"]} == {b"r" * 1024}
    assert account["additionalInfo"] == "i" * 4096
    assert len(account["refunds"]) == 5
    assert (account["deliverablesHead"], account["deliverablesCount"]) == (1, 20)
