# SPDX-License-Identifier: Apache-2.0
"""The published Python client, 0g-inference-sdk 0.9.1 as it is on PyPI, against the local network.

It sends every transaction with a gas limit of its own, 300,000 or 200,000: on the live contracts three of its
calls run out of gas. It is a development dependency: its requirements are compatible with this project's, so it needs
no environment of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from serving_network.localchain.accounts import development_keys
from serving_network.messages.session_tokens import read_token
from serving_network.money import WEI_PER_COIN as COIN
from tests.clients.network_fixture import World

zerog = pytest.importorskip("zerog_py_sdk", reason="make sure that the development dependencies are installed")

OWNER, PROVIDER, OTHER_PROVIDER, USER = range(4)
GAS_OF_TRANSFERS, GAS_OF_RETURNS = 300_000, 200_000


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with world.network.served() as address:
        yield address


def broker(url: str, number: int) -> Any:
    """The client of the development account with this number. It finds the contracts by the chain id."""
    return zerog.create_broker(private_key=development_keys()[number].to_hex(), rpc_url=url)


def gas_limit(world: World, receipt: dict[str, Any]) -> int:
    """The limit that the client chose for a transaction that succeeded."""
    hash_ = next(value for key, value in receipt.items() if "hash" in key.lower())
    text = hash_ if isinstance(hash_, str) else hash_.hex()
    mined = world.chain.request("eth_getTransactionByHash", ["0x" + text.removeprefix("0x")])
    assert int(world.chain.request("eth_getTransactionReceipt", [mined["hash"]])["status"], 16) == 1
    return int(mined["gas"], 16)


@pytest.mark.parametrize("providers", [1, 2])
def test_an_ordinary_users_ledger(world: World, url: str, providers: int) -> None:
    chosen = [world.provider, world.other_provider][:providers]
    for provider in chosen:
        provider.register(world.offer())
    ledger = broker(url, USER).ledger
    assert gas_limit(world, ledger.add_ledger("3")) == GAS_OF_TRANSFERS
    ledger.deposit_fund("7")
    ledger.deposit_fund_for(world.stranger.address, "3")
    assert ledger.get_ledger().total_balance == 10 * COIN
    assert len(ledger.list_ledger()) == 2
    for provider in chosen:
        ledger.transfer_fund(provider.address, "inference", COIN)
        assert gas_limit(world, ledger.transfer_fund(provider.address, "inference", COIN)) == GAS_OF_TRANSFERS
    detail = ledger.get_ledger_with_detail()
    assert detail.inference_providers == [(one.address, 2 * COIN, 0) for one in chosen]
    assert len(ledger.get_providers_with_balance()) == providers
    assert gas_limit(world, ledger.retrieve_fund_from_provider(chosen[0].address)) == GAS_OF_RETURNS
    assert gas_limit(world, ledger.retrieve_fund()) == GAS_OF_RETURNS
    world.network.travel(86_400)
    assert gas_limit(world, ledger.retrieve_fund()) == GAS_OF_RETURNS
    assert ledger.get_ledger_with_detail().available_balance == 10 * COIN
    assert gas_limit(world, ledger.refund("6")) == GAS_OF_RETURNS
    with pytest.raises(Exception, match=r"MustWithdrawAllFundsFirst|deleteLedger"):
        ledger.delete_ledger()
    assert gas_limit(world, ledger.refund("4")) == GAS_OF_RETURNS
    assert world.user.ledger(world.user.address) is None


def test_an_ordinary_users_inference_calls(world: World, url: str) -> None:
    world.provider.register(world.offer())
    inference = broker(url, USER).inference
    broker(url, USER).ledger.add_ledger("10")
    (service,) = inference.list_service()
    assert (service.provider, service.model) == (world.provider.address, "model-1")
    assert inference.get_service(world.provider.address).url == "https://provider.example"
    assert inference.check_provider_signer_status(world.provider.address)["is_acknowledged"] is False
    broker(url, OWNER).inference.acknowledge_provider_tee_signer(world.provider.address)
    assert inference.check_provider_signer_status(world.provider.address)["is_acknowledged"] is True
    inference.acknowledge_provider_signer(world.provider.address)
    assert inference.acknowledged(world.provider.address)
    assert inference.get_account(world.provider.address).balance == COIN
    assert inference.get_account_with_detail(world.provider.address).account.balance == COIN
    with pytest.raises(Exception, match="list index out of range"):
        inference.list_accounts()  # it parses every page wrongly, with any contract
    assert inference.lock_time() == 86_400
    broker(url, OWNER).inference.revoke_provider_tee_signer_acknowledgement(world.provider.address)
    assert [one.provider for one in world.owner.waiting()] == [world.provider.address]


def test_its_tokens_are_accepted(world: World, url: str) -> None:
    world.with_account()
    inference = broker(url, USER).inference
    key = inference.create_api_key(world.provider.address, token_id=3)
    header = f"Bearer {key.raw_token}"
    token, signer = read_token(header)
    assert (token.token_id, signer) == (3, world.user.address)
    assert world.provider.check_header(header, key.created_at).token_id == 3
    inference.revoke_api_key(world.provider.address, 3)
    inference.revoke_tokens(world.provider.address, [4, 5])
    account = world.user.account(world.user.address, world.provider.address)
    assert account is not None
    assert account.revoked_bitmap == 0b111000
    inference.revoke_all_tokens(world.provider.address)
    again = world.user.account(world.user.address, world.provider.address)
    assert again is not None
    assert (again.generation, again.revoked_bitmap) == (1, 0)


def test_a_providers_calls(world: World, url: str) -> None:
    world.provider.register(world.offer())
    inference = broker(url, PROVIDER).inference
    inference.update_service(url="https://new.example", input_price=7)
    registered = world.provider.offer(world.provider.address)
    assert registered is not None
    assert registered.offer == world.offer(url="https://new.example", input_price=7)
    inference.remove_service()
    assert world.provider.offer(world.provider.address) is None
