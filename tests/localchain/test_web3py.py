# SPDX-License-Identifier: Apache-2.0
"""The chain with web3.py, over HTTP and WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from eth_account import Account
from web3 import AsyncWeb3, Web3, WebSocketProvider
from web3.exceptions import ContractCustomError, ContractLogicError, TransactionNotFound, Web3RPCError

from serving_network.localchain import EmbeddedChain
from serving_network.localchain.accounts import development_keys
from serving_network.localchain.server import ChainServer, running_server
from tests.localchain.programs import EMIT, REVERT, STORE_OR_LOAD, deploy, topic, word

TARGET = "0x" + "77" * 20


@pytest.fixture
def server(chain: EmbeddedChain) -> Iterator[ChainServer]:
    with running_server(chain) as running:
        yield running


@pytest.fixture
def web3(server: ChainServer) -> Iterator[Any]:
    provider = Web3.HTTPProvider(server.url)
    yield Web3(provider)
    for session in provider._request_session_manager.session_cache._data.values():
        session.close()


def test_a_transfer_signed_by_the_user(web3: Any) -> None:
    user = Account.from_key(development_keys()[3].to_bytes())
    fields: dict[str, Any] = {"from": user.address, "to": TARGET, "value": web3.to_wei(1, "ether")}
    fields |= {"nonce": web3.eth.get_transaction_count(user.address), "chainId": web3.eth.chain_id}
    fields |= {"gas": web3.eth.estimate_gas(fields), "maxPriorityFeePerGas": web3.eth.max_priority_fee}
    fields["maxFeePerGas"] = 2 * web3.eth.get_block("latest")["baseFeePerGas"] + fields["maxPriorityFeePerGas"]
    fields.pop("from")
    sent = web3.eth.send_raw_transaction(user.sign_transaction(fields).raw_transaction)
    receipt = web3.eth.wait_for_transaction_receipt(sent)
    assert (receipt["status"], receipt["gasUsed"], receipt["from"]) == (1, 21_000, user.address)
    assert web3.eth.get_balance(TARGET) == 10**18
    assert web3.eth.get_transaction(sent)["blockNumber"] == 1


def test_a_transfer_by_an_account_of_the_node(web3: Any) -> None:
    sent = web3.eth.send_transaction({"from": web3.eth.accounts[0], "to": TARGET, "value": 5})
    assert web3.eth.wait_for_transaction_receipt(sent)["status"] == 1
    assert web3.eth.fee_history(1, "latest", [50])["reward"] == [[web3.eth.max_priority_fee]]


def test_contracts_blocks_and_logs(web3: Any, chain: EmbeddedChain) -> None:
    store, emitter = deploy(chain, STORE_OR_LOAD), deploy(chain, EMIT)
    web3.eth.send_transaction({"from": chain.accounts[0], "to": store, "data": word(0) + word(5)[2:]})
    assert web3.eth.call({"to": store, "data": word(0)}) == bytes.fromhex(word(5)[2:])
    assert web3.eth.call({"to": store, "data": word(0)}, 2) == bytes(32)
    assert web3.eth.get_storage_at(store, 0)[-1] == 5
    follow = web3.eth.filter({"address": emitter})
    web3.eth.send_transaction({"from": chain.accounts[0], "to": emitter, "data": topic("Seen()") + "ff"})
    (entry,) = follow.get_new_entries()
    (log,) = web3.eth.get_logs({"fromBlock": 0, "topics": [topic("Seen()")]})
    assert entry == log
    block = web3.eth.get_block("latest", full_transactions=True)
    assert block["transactions"][0]["hash"] == log["transactionHash"]
    assert web3.eth.get_block_receipts("latest")[0]["logs"][0] == log


def test_failures(web3: Any, chain: EmbeddedChain) -> None:
    contract = deploy(chain, REVERT)
    with pytest.raises(ContractCustomError) as custom:
        web3.eth.call({"to": contract, "data": "0x12345678" + word(7)[2:]})
    assert custom.value.data == "0x12345678" + word(7)[2:]
    with pytest.raises(ContractLogicError):
        web3.eth.estimate_gas({"to": contract, "data": "0x"})
    with pytest.raises(Web3RPCError, match="unknown account"):
        web3.eth.send_transaction({"from": TARGET, "to": TARGET, "gas": 21_000, "gasPrice": 10**10})
    with pytest.raises(TransactionNotFound):
        web3.eth.get_transaction_receipt(word(1))


def test_a_batch(web3: Any) -> None:
    rich = web3.eth.accounts[0]
    with web3.batch_requests() as batch:
        batch.add(web3.eth.get_block("latest"))
        batch.add(web3.eth.get_balance(rich))
        block, balance = batch.execute()
    assert block["number"] == 0
    assert balance == 10**24


def test_subscriptions(chain: EmbeddedChain, server: ChainServer) -> None:
    emitter = deploy(chain, EMIT)

    async def work() -> None:
        async with AsyncWeb3(WebSocketProvider(server.ws_url)) as web3:
            heads = await web3.eth.subscribe("newHeads")
            logs = await web3.eth.subscribe("logs", {"address": emitter})
            fields = {"from": chain.accounts[0], "to": emitter, "data": topic("Seen()") + "ff"}
            sent = await web3.eth.send_transaction(fields)
            reported: dict[Any, Any] = {}
            async for message in web3.socket.process_subscriptions():
                reported[message["subscription"]] = message["result"]
                if len(reported) == 2:
                    break
            receipt = await web3.eth.wait_for_transaction_receipt(sent)
            assert reported[heads]["hash"] == receipt["blockHash"]
            assert reported[logs]["data"] == receipt["logs"][0]["data"]

    asyncio.run(work())
