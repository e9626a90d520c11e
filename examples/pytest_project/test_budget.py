# SPDX-License-Identifier: Apache-2.0
import asyncio
import json
import urllib.request

import pytest
from budget import spread

from serving_network.chain.connection import AsyncConnection
from serving_network.clients import AsyncUser, Provider
from serving_network.contracts.errors import ServiceNotExist
from serving_network.contracts.models import Offer
from serving_network.money import WEI_PER_COIN as COIN
from serving_network.testing import LocalNetwork


def registered(network: LocalNetwork, number: int) -> Provider:
    provider = network.provider(number)
    offer = Offer(
        service_type="chatbot",
        url="https://provider.example",
        model="model-1",
        verifiability="TeeML",
        input_price=100,
        output_price=200,
        additional_info="",
        tee_signer=network.signer(9).address,
    )
    provider.register(offer)
    network.owner.confirm(provider.address)
    return provider


def test_every_provider_gets_the_same_share(serving_network: LocalNetwork) -> None:
    user = serving_network.user(1)
    providers = [registered(serving_network, number).address for number in (2, 3, 4)]
    assert spread(user, 10 * COIN, providers) == dict.fromkeys(providers, 3 * COIN)
    balances = user.balances(user.address)
    assert balances.ledger is not None
    assert balances.ledger.available == COIN
    assert {one.provider: one.balance for one in balances.accounts} == dict.fromkeys(providers, 3 * COIN)


def test_an_unknown_provider_is_an_error(serving_network: LocalNetwork) -> None:
    with pytest.raises(ServiceNotExist):
        spread(serving_network.user(1), 10 * COIN, [serving_network.signer(5).address])


def test_unspent_funds_return_to_the_ledger(serving_network: LocalNetwork) -> None:
    user = serving_network.user(1)
    spread(user, 10 * COIN, [registered(serving_network, 2).address])
    user.retrieve()
    serving_network.travel(86_400)
    user.retrieve()
    ledger = user.ledger(user.address)
    assert ledger is not None
    assert ledger.available == 10 * COIN


def test_a_program_with_an_event_loop_opens_a_connection_of_its_own(serving_network: LocalNetwork) -> None:
    async def deposited() -> int:
        async with await AsyncConnection.open(serving_network.chain) as connection:
            user = AsyncUser(connection, serving_network.signer(1))
            await user.deposit(3 * COIN)
            ledger = await user.ledger(user.address)
        return ledger.available if ledger else 0

    assert asyncio.run(deposited()) == 3 * COIN


def test_other_programs_reach_the_network(serving_network_url: str) -> None:
    call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}).encode()
    request = urllib.request.Request(serving_network_url, call, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        assert json.load(answer)["result"] == hex(31337)
