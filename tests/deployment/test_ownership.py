# SPDX-License-Identifier: Apache-2.0
"""Handing over each ownership, in one step and in two, and what the old owner can no longer do."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.contract import Contract
from serving_network.contracts.models import ZERO_ADDRESS
from serving_network.contracts.reverts import RevertedWithoutReason
from serving_network.deployment.check import check_record
from serving_network.deployment.engine import RunOptions, carry_out
from serving_network.deployment.errors import NotTheOwner, PlanRefused
from serving_network.deployment.instructions import look_after
from serving_network.deployment.ownership import (
    KINDS,
    Kind,
    Ownership,
    Power,
    ownerships,
    plan_acceptance,
    plan_transfer,
    read_ownership,
    rehearse_transfer,
)
from serving_network.deployment.plan import Done
from serving_network.errors import NotAnAddress
from serving_network.wallet.local import LocalSigner

from .conftest import Bench, DyingChain, Killed
from .people import register_provider

CONTRACTS = ("ledger", "inference-v1.0", "fine-tuning-v1.1")


def hand_over(
    bench: Bench,
    new_owner: LocalSigner,
    *,
    kinds: Sequence[Kind] = KINDS,
    names: Sequence[str] = (),
    two_steps: bool = False,
    chain: Any = None,
    account: LocalSigner | None = None,
) -> Done:
    async def work(connection: AsyncConnection) -> Done:
        who, file = account or bench.owner, bench.file()
        plan = await plan_transfer(
            connection, file.record, who.address, new_owner.address, kinds=kinds, names=names, two_steps=two_steps
        )
        return await carry_out(connection, who, file, plan, RunOptions(timeout=5))

    return bench.run(work, chain)


def accept(bench: Bench, new_owner: LocalSigner) -> Done:
    async def work(connection: AsyncConnection) -> Done:
        file = bench.file()
        plan = await plan_acceptance(connection, file.record, new_owner.address)
        return await carry_out(connection, new_owner, file, plan)

    return bench.run(work)


def owners(bench: Bench) -> dict[tuple[str, str], str]:
    """Who owns what, by contract and kind."""
    found: list[Ownership] = bench.run(lambda chain: ownerships(chain, bench.record()))
    return {(one.name, one.kind): one.owner for one in found}


def as_recorded(bench: Bench) -> bool:
    async def work(chain: AsyncConnection) -> bool:
        return all(one.difference is None for one in await check_record(chain, bench.record()))

    return bench.run(work)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CONTRACTS)
def test_one_ownership_of_one_contract_moves_and_no_other(network: Bench, name: str, kind: Kind) -> None:
    before = owners(network)
    hand_over(network, network.upgrade_owner, kinds=(kind,), names=(name,))
    assert owners(network) == before | {(name, kind): network.upgrade_owner.address}
    assert as_recorded(network)


def test_a_contract_that_cannot_be_offered_is_shown_with_its_owner(network: Bench) -> None:
    class Live(AsyncConnection):
        """Shows contracts as the live network has them."""

        async def call(self, to: str, data: bytes, **given: Any) -> bytes:
            if data == Contract(self, "LedgerManager", to).interface.encode("pendingOwner"):
                raise RevertedWithoutReason
            return await super().call(to, data, **given)

    async def work() -> Ownership:
        async with await Live.open(network.chain) as chain:
            return await read_ownership(
                Contract(chain, "LedgerManager", network.record().ledger.front.address), "ledger", "business"
            )

    assert asyncio.run(work()) == Ownership("ledger", "business", network.owner.address, None)


def test_all_of_it_moves_at_once(network: Bench) -> None:
    done = hand_over(network, network.upgrade_owner)
    assert len(done.steps) == 6
    assert set(owners(network).values()) == {network.upgrade_owner.address}
    assert as_recorded(network)


def test_in_two_steps_nothing_moves_before_it_is_accepted(network: Bench) -> None:
    done = hand_over(network, network.upgrade_owner, two_steps=True)
    assert set(owners(network).values()) == {network.owner.address}
    assert {one.function for one in done.instructions} == {"acceptOwnership"}
    assert len(done.instructions) == 6
    assert as_recorded(network)
    accepted = accept(network, network.upgrade_owner)
    assert set(owners(network).values()) == {network.upgrade_owner.address}
    assert accepted.instructions == ()
    assert as_recorded(network)


def test_a_new_owner_with_tools_of_tnew_owner_own_is_noticed(network: Bench) -> None:
    done = hand_over(network, network.upgrade_owner, kinds=("upgrade",), names=("ledger",), two_steps=True)
    (instruction,) = done.instructions
    data = bytes.fromhex(instruction.data.removeprefix("0x"))
    network.run(lambda chain: chain.send(network.upgrade_owner, instruction.to, data))
    assert [said for _, said in network.run(lambda chain: look_after(chain, network.file()))] == ["done"]
    assert network.record().ledger.upgrade_owner == network.upgrade_owner.address
    assert as_recorded(network)


def test_a_rehearsal_shows_what_the_old_owner_can_no_longer_do(network: Bench) -> None:
    register_provider(network)

    async def work(chain: AsyncConnection) -> list[Power]:
        plan = await plan_transfer(
            chain, network.record(), network.owner.address, network.upgrade_owner.address, two_steps=True
        )
        return await rehearse_transfer(chain, network.record(), plan)

    powers = network.run(work)
    assert {one.refusal for one in powers} == {
        "Only the contract's owner may do this, and the key in use is not the owner's."
    }
    lost = {(one.name, one.says) for one in powers}
    assert {(name, "replace the implementation") for name in CONTRACTS} < lost
    assert {
        ("inference-v1.0", "confirm a provider's TEE signer"),
        ("fine-tuning-v1.1", "change the penalty"),
        ("ledger", "choose the recommended version"),
    } < lost
    assert set(owners(network).values()) == {network.owner.address}


@pytest.mark.parametrize("after", [False, True], ids=["before it is sent", "when it is sent"])
@pytest.mark.parametrize("nth", [1, 4, 6])
def test_killed_in_the_middle_it_goes_on(network: Bench, nth: int, after: bool) -> None:
    nonce = network.nonce(network.owner)
    with pytest.raises(Killed):
        hand_over(
            network, network.upgrade_owner, chain=DyingChain(network.chain, "eth_sendRawTransaction", nth, after=after)
        )
    with pytest.raises(
        PlanRefused, match=f"The transfer of ownership to {network.upgrade_owner.address} is not finished"
    ):
        hand_over(network, network.stranger)
    hand_over(network, network.upgrade_owner)
    assert network.nonce(network.owner) == nonce + 6
    assert set(owners(network).values()) == {network.upgrade_owner.address}
    assert as_recorded(network)


def test_an_unfinished_transfer_is_not_resumed_as_an_offer_and_can_be_rehearsed(network: Bench) -> None:
    with pytest.raises(Killed):
        hand_over(network, network.stranger, chain=DyingChain(network.chain, "eth_sendRawTransaction", 3, after=True))
    with pytest.raises(PlanRefused, match="is not finished"):
        hand_over(network, network.stranger, two_steps=True)

    async def begin(chain: AsyncConnection) -> list[Power]:
        owner, record = network.owner.address, network.record()
        plan = await plan_transfer(chain, record, owner, network.stranger.address, two_steps=False)
        return await rehearse_transfer(chain, record, plan)

    assert {one.name for one in network.run(begin)} == set(CONTRACTS)


def test_a_key_that_owns_nothing_hands_nothing_over(network: Bench) -> None:
    with pytest.raises(NotTheOwner, match=f"is {network.owner.address}, not"):
        hand_over(network, network.upgrade_owner, account=network.stranger)
    assert network.nonce(network.stranger) == 0


def test_the_zero_address_cannot_be_an_owner(network: Bench) -> None:
    async def work(chain: AsyncConnection) -> None:
        await plan_transfer(chain, network.record(), network.owner.address, ZERO_ADDRESS, two_steps=False)

    with pytest.raises(NotAnAddress, match="zero address"):
        network.run(work)


def test_nothing_is_handed_over_twice(network: Bench) -> None:
    hand_over(network, network.owner.__class__.create(), kinds=("upgrade",), names=("ledger",), two_steps=True)
    hand_over(network, network.upgrade_owner, kinds=("business",))
    with pytest.raises(PlanRefused, match="already owns all of this"):
        hand_over(network, network.upgrade_owner, kinds=("business",))


def test_only_what_is_offered_can_be_accepted(network: Bench) -> None:
    with pytest.raises(PlanRefused, match="Nothing is offered"):
        accept(network, network.stranger)
