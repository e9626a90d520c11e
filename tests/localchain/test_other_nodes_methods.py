# SPDX-License-Identifier: Apache-2.0
"""What this chain cannot do is refused by name, and methods of other developer nodes do here what they do there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serving_network.errors import RpcError
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.server import SHORTEST_INTERVAL, ChainServer
from tests.localchain.programs import REVERT, STORE, deploy, gas_of, send, word

POOR = "0x" + "77" * 20
SIGNED_ELSEWHERE = {
    "blobVersionedHashes": [word(1)],
    "maxFeePerBlobGas": "0x1",
    "authorizationList": [{"chainId": "0x7a69", "address": POOR, "nonce": "0x0"}],
    "type": "0x3",
}


def refused(chain: EmbeddedChain, method: str, *params: Any) -> RpcError:
    with pytest.raises(RpcError) as failure:
        chain.request(method, params)
    return failure.value


def pair(chain: EmbeddedChain, **fields: Any) -> dict[str, Any]:
    return {"from": chain.accounts[0], "to": chain.accounts[1]} | fields


@pytest.mark.parametrize("name", SIGNED_ELSEWHERE)
@pytest.mark.parametrize("method", ["eth_sendTransaction", "eth_call", "eth_estimateGas"])
def test_fields_of_other_types_are_refused_and_not_ignored(chain: EmbeddedChain, method: str, name: str) -> None:
    error = refused(chain, method, pair(chain, **{name: SIGNED_ELSEWHERE[name]}))
    assert error.code == -32004
    assert "the embedded chain does not support" in error.message
    assert "serving up --node anvil" in error.message
    assert chain.request("eth_blockNumber") == "0x0"


@pytest.mark.parametrize("method", ["eth_sendTransaction", "eth_call", "eth_estimateGas", "debug_traceCall"])
def test_the_id_of_another_chain_is_refused(chain: EmbeddedChain, method: str) -> None:
    assert "have=1, want=31337" in refused(chain, method, pair(chain, chainId="0x1")).message
    chain.request(method, [pair(chain, chainId="0x7a69")])


def test_a_transaction_has_the_type_that_was_asked_for(chain: EmbeddedChain) -> None:
    for kind in ("0x0", "0x1", "0x2"):
        sent = chain.request("eth_sendTransaction", [pair(chain, type=kind)])
        assert chain.request("eth_getTransactionByHash", [sent])["type"] == kind
    for contradiction in ({"type": "0x1", "maxFeePerGas": "0x9502f9000"}, {"type": "0x2", "gasPrice": "0x9502f9000"}):
        assert refused(chain, "eth_sendTransaction", pair(chain, **contradiction)).code == -32602


def test_input_and_data_must_agree(chain: EmbeddedChain) -> None:
    contract = deploy(chain, STORE)
    assert refused(chain, "eth_call", {"to": contract, "input": "0x01", "data": "0x02"}).code == -32602
    data = word(0) + word(7)[2:]
    send(chain, contract, data, input=None)
    assert chain.request("eth_getStorageAt", [contract, "0x0"]) == word(7)


def test_an_estimate_is_limited_by_what_a_tip_lets_the_sender_pay(chain: EmbeddedChain) -> None:
    chain.request("hardhat_setBalance", [POOR, hex(10**15)])
    call = {"from": POOR, "to": deploy(chain, STORE), "data": word(1) + word(1)[2:], "maxPriorityFeePerGas": "0xa"}
    assert int(chain.request("eth_estimateGas", [call]), 16) < 50_000
    chain.request("hardhat_setBalance", [POOR, hex(10**12)])
    assert "exceeds allowance" in refused(chain, "eth_estimateGas", call).message


def test_a_poll_from_the_next_block_on_finds_nothing(chain: EmbeddedChain) -> None:
    assert chain.request("eth_getLogs", [{"fromBlock": "0x1"}]) == []
    assert chain.request("eth_getLogs", [{"fromBlock": "0x1", "toBlock": "latest"}]) == []
    chain.request("evm_mine")
    assert refused(chain, "eth_getLogs", {"fromBlock": "0x1", "toBlock": "0x0"}).code == -32602


def test_a_pending_block_has_a_hash(chain: EmbeddedChain) -> None:
    assert len(chain.request("eth_getBlockByNumber", ["pending"])["hash"]) == 66


def test_an_access_list_makes_nothing_cold(chain: EmbeddedChain) -> None:
    inner = deploy(chain, "PUSH1 0x05 SLOAD POP PUSH0 PUSH0 REVERT")
    outer = deploy(chain, f"PUSH0 SLOAD POP PUSH0 PUSH0 PUSH0 PUSH0 PUSH20 {inner} GAS STATICCALL POP STOP")
    found = chain.request("eth_createAccessList", [pair(chain, to=outer)])
    listed = {one["address"]: one["storageKeys"] for one in found["accessList"]}
    assert listed == {outer: [word(0)], inner: [word(5)]}
    mined = send(chain, outer, accessList=found["accessList"])
    assert hex(gas_of(mined)) == found["gasUsed"]
    plain = chain.request("eth_createAccessList", [pair(chain)])
    assert plain == {"accessList": [], "gasUsed": hex(21_000)}
    assert chain.request("eth_createAccessList", [{"to": inner}])["error"] == "execution reverted"


def test_the_call_tracer_shows_the_tree_of_messages(chain: EmbeddedChain) -> None:
    reverting = deploy(chain, REVERT)
    call = f"PUSH0 PUSH0 PUSH0 PUSH0 PUSH20 {reverting} GAS"
    outer = deploy(chain, f"{call} STATICCALL POP {call} DELEGATECALL POP PUSH0 PUSH0 PUSH0 CREATE STOP")
    mined = send(chain, outer, "0x12")
    top = chain.request("debug_traceTransaction", [mined["transactionHash"], {"tracer": "callTracer"}])
    assert (top["type"], top["from"], top["to"], top["input"]) == ("CALL", chain.accounts[0], outer, "0x12")
    assert (top["gas"], top["gasUsed"]) == (hex(1_000_000), mined["gasUsed"])
    inner = [(one["type"], one["from"], one.get("error")) for one in top["calls"]]
    assert inner == [
        ("STATICCALL", outer, "execution reverted"),
        ("DELEGATECALL", outer, "execution reverted"),
        ("CREATE", outer, None),
    ]
    assert [one["to"] for one in top["calls"][:2]] == [reverting] * 2
    alone = {"tracer": "callTracer", "tracerConfig": {"onlyTopCall": True}}
    assert "calls" not in chain.request("debug_traceTransaction", [mined["transactionHash"], alone])
    assert "prestateTracer" in refused(chain, "debug_traceCall", {}, "latest", {"tracer": "prestateTracer"}).message


def test_pending_transactions_are_notified(chain: EmbeddedChain) -> None:
    hashes, whole, pushed = chain.request("eth_newPendingTransactionFilter"), [], []
    chain.subscribe("newPendingTransactions", None, lambda _, what: pushed.append(what))
    chain.subscribe("newPendingTransactions", True, lambda _, what: whole.append(what["hash"]))
    sent = chain.request("eth_sendTransaction", [pair(chain)])
    chain.request("evm_mine")
    assert chain.request("eth_getFilterChanges", [hashes]) == pushed == whole == [sent]


def test_every_sender_may_be_impersonated(chain: EmbeddedChain) -> None:
    chain.request("anvil_setBalance", [POOR, hex(10**18)])
    assert "unknown account" in refused(chain, "eth_sendTransaction", {"from": POOR, "to": POOR}).message
    chain.request("anvil_autoImpersonateAccount", [True])
    sent = chain.request("eth_sendTransaction", [{"from": POOR, "to": POOR}])
    assert chain.request("eth_getTransactionReceipt", [sent])["status"] == "0x1"
    chain.request("anvil_autoImpersonateAccount", [False])
    assert "unknown account" in refused(chain, "eth_sendTransaction", {"from": POOR, "to": POOR}).message


@pytest.mark.parametrize("prefix", ["anvil", "hardhat"])
def test_the_methods_of_anvil_and_hardhat_are_the_same(chain: EmbeddedChain, prefix: str) -> None:
    def ask(name: str, *params: Any) -> Any:
        return chain.request(f"{prefix}_{name}", params)

    snapshot = ask("snapshot")
    ask("setAutomine", False)
    chain.request("eth_sendTransaction", [pair(chain)])
    ask("dropAllTransactions")
    ask("setCoinbase", POOR)
    ask("setPrevRandao", word(5))
    ask("setNextBlockTimestamp", 2_000_000_000)
    ask("mine")
    block = chain.request("eth_getBlockByNumber", ["latest"])
    assert (block["transactions"], block["miner"], block["mixHash"]) == ([], POOR, word(5))
    assert block["timestamp"] == hex(2_000_000_000)
    chain.request("evm_mine")
    assert chain.request("eth_getBlockByNumber", ["latest"])["mixHash"] != word(5)
    assert ask("revert", snapshot) is True


def test_a_method_that_is_missing_names_the_node_that_may_have_it(chain: EmbeddedChain) -> None:
    error = refused(chain, "eth_getNothing\n", POOR, [], "latest")
    assert error.code == -32601
    assert "eth_getNothing\\n does not exist" in error.message
    assert "serving up --node anvil" in error.message


def test_blocks_are_mined_at_an_interval_until_it_is_zero(chain: EmbeddedChain) -> None:
    async def work() -> None:
        server = ChainServer(chain, port=0)

        async def ask(*interval: Any) -> str:
            params = ", ".join(map(str, interval))
            body = f'{{"id": 1, "method": "evm_setIntervalMining", "params": [{params}]}}'
            return str(await server.answer(body))

        for wrong in ((1,), (-50,), (SHORTEST_INTERVAL - 1,), ("true",), (), (60, 60)):
            assert "-32602" in await ask(*wrong), wrong
        assert "true" in await ask(SHORTEST_INTERVAL)
        while len(chain._chain.blocks) < 3:
            await asyncio.sleep(0.01)
        assert "true" in await ask(0)
        mined = len(chain._chain.blocks)
        await asyncio.sleep(3 * SHORTEST_INTERVAL / 1000)
        assert len(chain._chain.blocks) <= mined + 1  # one may have been under way
        await server.stop()

    asyncio.run(work())
