# SPDX-License-Identifier: Apache-2.0
"""Listing services, recommending a version, and planning the move from one version to the next."""

import pytest

from serving_network.chain.connection import AsyncConnection
from serving_network.contracts.errors import ServiceMustImplementIServing
from serving_network.deployment.engine import carry_out
from serving_network.deployment.errors import NotTheOwner, PlanRefused
from serving_network.deployment.plan import Done
from serving_network.deployment.registry import (
    Listed,
    Move,
    list_services,
    plan_migration,
    plan_recommendation,
    plan_registration,
)

from .conftest import Bench, DyingChain, Killed
from .people import COIN, open_accounts, register_provider
from .test_deploy import NEXT_VERSION, with_service
from .test_upgrade import differences


def listed(bench: Bench) -> dict[str, Listed]:
    return {one.name: one for one in bench.run(lambda chain: list_services(chain, bench.record()))}


def recommend(bench: Bench, name: str, chain: object = None) -> Done:
    async def work(connection: AsyncConnection) -> Done:
        file = bench.file()
        plan = await plan_recommendation(connection, file.record, name, bench.owner.address)
        return await carry_out(connection, bench.owner, file, plan)

    return bench.run(work, chain)


def register(bench: Bench, version: str, address: str, chain: object = None) -> Done:
    async def work(connection: AsyncConnection) -> Done:
        file, sender = bench.file(), bench.owner.address
        plan = await plan_registration(
            connection, file.record, sender, service_type="inference", version=version, address=address
        )
        assert [step.says for step in plan.steps] == [f"register inference-{version} at {address} with the ledger"]
        return await carry_out(connection, bench.owner, file, plan)

    return bench.run(work, chain)


def moves(bench: Bench, left: str = "inference-v1.0", entered: str = "inference-v1.1") -> list[Move]:
    return bench.run(lambda chain: plan_migration(chain, bench.record(), left, entered))


def test_every_version_is_listed_with_what_is_in_it(network: Bench) -> None:
    open_accounts(network)
    network.deploy(with_service(NEXT_VERSION))
    found = listed(network)
    assert list(found) == ["inference-v1.0", "fine-tuning-v1.1", "inference-v1.1"]
    first = found["inference-v1.0"]
    assert (first.recommended, first.providers, first.accounts, first.users) == (True, 1, 2, 2)
    assert first.stakes == 100 * COIN
    assert first.in_accounts == 2 * (4 * COIN + 3)
    assert first.holds == 100 * COIN + 2 * (4 * COIN + 3)
    assert (found["inference-v1.1"].recommended, found["inference-v1.1"].holds) == (False, 0)


def test_the_recommended_version_can_be_chosen(network: Bench) -> None:
    network.deploy(with_service(NEXT_VERSION))
    recommend(network, "inference-v1.1")
    assert {name: one.recommended for name, one in listed(network).items()} == {
        "inference-v1.0": False,
        "fine-tuning-v1.1": True,
        "inference-v1.1": True,
    }
    flags = {name: one.registration.recommended for name, one in network.record().services.items() if one.registration}
    assert flags == {"inference-v1.0": False, "fine-tuning-v1.1": True, "inference-v1.1": True}


@pytest.mark.parametrize("after", [False, True])
def test_killed_while_recommending_it_goes_on(network: Bench, after: bool) -> None:
    network.deploy(with_service(NEXT_VERSION))
    nonce = network.nonce(network.owner)
    with pytest.raises(Killed):
        recommend(network, "inference-v1.1", DyingChain(network.chain, "eth_sendRawTransaction", 1, after=after))
    recommend(network, "inference-v1.1")
    assert network.nonce(network.owner) == nonce + 1
    assert listed(network)["inference-v1.1"].recommended


def test_a_registration_by_the_ledgers_owner_closes_their_instruction(network: Bench) -> None:
    done = network.deploy(with_service(NEXT_VERSION), account=network.stranger)
    assert [one.id for one in done.instructions] == ["inference-v1.1/register"]
    address = network.record().contracts["inference-v1.1"].front.address
    assert register(network, "v1.1", address).instructions == ()
    registration = network.record().contracts["inference-v1.1"].registration
    assert registration is not None
    assert registration.registered
    assert listed(network)["inference-v1.1"].address == address
    recommend(network, "inference-v1.1")
    assert differences(network) == []


def test_a_registration_of_another_contract_leaves_the_instruction_open(network: Bench) -> None:
    network.deploy(
        with_service(NEXT_VERSION, NEXT_VERSION.model_copy(update={"version": "v1.2"})), account=network.stranger
    )
    other = network.record().contracts["inference-v1.2"].front.address
    done = register(network, "v1.1", other)
    assert [one.id for one in done.instructions] == ["inference-v1.1/register", "inference-v1.2/register"]


def test_a_registration_that_the_ledger_refuses_leaves_no_unfinished_work(network: Bench) -> None:
    with pytest.raises(ServiceMustImplementIServing):
        register(network, "v1.1", network.stranger.address)
    assert network.record().pending is None
    network.deploy(with_service(NEXT_VERSION))


def test_an_unfinished_registration_is_not_resumed_for_another_contract(network: Bench) -> None:
    network.deploy(
        with_service(NEXT_VERSION, NEXT_VERSION.model_copy(update={"version": "v1.2"})), account=network.stranger
    )
    first, other = (network.record().contracts[f"inference-{one}"].front.address for one in ("v1.1", "v1.2"))
    with pytest.raises(Killed):
        register(network, "v1.1", first, DyingChain(network.chain, "eth_sendRawTransaction", 1, after=False))
    with pytest.raises(PlanRefused, match=f"The registration of inference-v1.1 at {first} is not finished"):
        register(network, "v1.1", other)
    register(network, "v1.1", first)
    assert listed(network)["inference-v1.1"].address == first


def test_what_is_recommended_already_or_unknown_or_not_ours_is_refused(network: Bench) -> None:
    async def by_stranger(chain: AsyncConnection) -> None:
        await plan_recommendation(chain, network.record(), "inference-v1.1", network.stranger.address)

    with pytest.raises(PlanRefused, match="is already the recommended version of inference"):
        recommend(network, "inference-v1.0")
    with pytest.raises(PlanRefused, match="No service called speech-v9 is registered"):
        recommend(network, "speech-v9")
    network.deploy(with_service(NEXT_VERSION))
    with pytest.raises(NotTheOwner, match="The ledger belongs to"):
        network.run(by_stranger)


def test_a_migration_shows_whose_money_is_where_and_what_is_left_to_do(network: Bench) -> None:
    open_accounts(network)
    network.deploy(with_service(NEXT_VERSION))
    found = {one.user: one for one in moves(network)}
    user, leaving = found[network.user.address], found[network.stranger.address]
    assert (user.balance, user.pending, user.unlocks_at) == (4 * COIN + 3, 0, None)
    assert user.steps == (
        "retrieve",
        "wait for the lock time",
        "retrieve again",
        "choose a provider of the next version",
    )
    now = int(network.chain.request("eth_getBlockByNumber", ["latest", False])["timestamp"], 16)
    assert leaving.pending == leaving.balance == 4 * COIN + 3
    assert leaving.unlocks_at is not None
    assert 0 < leaving.unlocks_at - now <= 86_400
    assert leaving.steps == ("wait for the lock time", "retrieve again", "choose a provider of the next version")
    register_provider(network, "inference-v1.1")
    assert {one.provider_has_moved for one in moves(network)} == {True}


def test_a_migration_lists_a_provider_without_users(network: Bench) -> None:
    register_provider(network, "inference-v1.0")
    network.deploy(with_service(NEXT_VERSION))
    remove = "remove the service from this version, which returns the stake"
    (alone,) = moves(network)
    assert (alone.user, alone.provider, alone.balance) == (None, network.provider.address, 0)
    assert alone.steps == ("register in the next version", remove)
    register_provider(network, "inference-v1.1")
    (alone,) = moves(network)
    assert alone.steps == (remove,)


def test_versions_of_different_services_are_no_migration(network: Bench) -> None:
    with pytest.raises(PlanRefused, match="not versions of the same service"):
        moves(network, entered="fine-tuning-v1.1")
