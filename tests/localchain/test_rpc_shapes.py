# SPDX-License-Identifier: Apache-2.0
"""Answers in the format that other programs expect: every field, with numbers in minimal hex."""

from __future__ import annotations

import re
from typing import Any

import pytest
import rlp
from eth.vm.forks.cancun.blocks import CancunBlockHeader
from eth_utils import is_checksum_address, keccak, to_bytes
from trie.hexary import HexaryTrie

from serving_network.errors import RpcError
from serving_network.localchain import EmbeddedChain
from tests.localchain.programs import EMIT, deploy, send, topic, word

QUANTITY = re.compile(r"0x(0|[1-9a-f][0-9a-f]*)")
DATA = re.compile(r"0x([0-9a-f]{2})*")


def quantities(shown: dict[str, Any], *names: str) -> None:
    for name in names:
        assert QUANTITY.fullmatch(shown[name]), name


def test_the_methods_about_the_node(chain: EmbeddedChain) -> None:
    ask = chain.request
    assert ask("eth_chainId") == "0x7a69"
    assert ask("net_version") == "31337"
    assert ask("net_listening") is True
    assert ask("eth_syncing") is False
    assert "py-evm" in ask("web3_clientVersion")
    assert ask("web3_sha3", ["0x"]) == "0x" + keccak(b"").hex()
    assert EmbeddedChain(chain_id=5).request("eth_chainId") == "0x5"


def test_ten_accounts_of_the_development_mnemonic(chain: EmbeddedChain) -> None:
    accounts = chain.request("eth_accounts")
    assert len(accounts) == 10
    assert accounts[0] == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    assert accounts[9] == "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720"
    assert int(chain.request("eth_getBalance", [accounts[9]]), 16) == 10**24


def test_a_block(chain: EmbeddedChain) -> None:
    receipt = send(chain, chain.accounts[1], value="0x1")
    block = chain.request("eth_getBlockByNumber", ["latest", False])
    quantities(
        block,
        "number",
        "gasLimit",
        "gasUsed",
        "timestamp",
        "baseFeePerGas",
        "difficulty",
        "size",
        "blobGasUsed",
        "excessBlobGas",
    )
    assert block["transactions"] == [receipt["transactionHash"]]
    assert block["number"] == "0x1"
    assert block["gasLimit"] == hex(30_000_000)
    assert len(block["logsBloom"]) == 2 + 512
    assert is_checksum_address(block["miner"])
    assert block["parentHash"] == chain.request("eth_getBlockByNumber", ["0x0"])["hash"]
    assert chain.request("eth_getBlockByHash", [block["hash"], False]) == block
    full = chain.request("eth_getBlockByNumber", ["latest", True])
    assert full["transactions"] == [chain.request("eth_getTransactionByHash", [receipt["transactionHash"]])]


def test_the_hash_of_a_block_is_that_of_its_header(chain: EmbeddedChain) -> None:
    emitter = deploy(chain, EMIT)
    send(chain, emitter, topic("Seen()") + "ff" * 40)
    block = chain.request("eth_getBlockByNumber", ["latest"])
    fields: dict[str, Any] = {
        "parent_hash": to_bytes(hexstr=block["parentHash"]),
        "uncles_hash": to_bytes(hexstr=block["sha3Uncles"]),
        "coinbase": to_bytes(hexstr=block["miner"]),
        "state_root": to_bytes(hexstr=block["stateRoot"]),
        "transaction_root": to_bytes(hexstr=block["transactionsRoot"]),
        "receipt_root": to_bytes(hexstr=block["receiptsRoot"]),
        "bloom": int(block["logsBloom"], 16),
        "difficulty": 0,
        "block_number": int(block["number"], 16),
        "gas_limit": int(block["gasLimit"], 16),
        "gas_used": int(block["gasUsed"], 16),
        "timestamp": int(block["timestamp"], 16),
        "extra_data": b"",
        "mix_hash": to_bytes(hexstr=block["mixHash"]),
        "nonce": bytes(8),
        "base_fee_per_gas": int(block["baseFeePerGas"], 16),
        "withdrawals_root": to_bytes(hexstr=block["withdrawalsRoot"]),
        "blob_gas_used": 0,
        "excess_blob_gas": 0,
        "parent_beacon_block_root": bytes(32),
    }
    header = CancunBlockHeader(**fields)
    assert "0x" + header.hash.hex() == block["hash"]
    assert int(block["logsBloom"], 16) != 0


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_the_transactions_root_is_the_trie_of_the_transactions(chain: EmbeddedChain, count: int) -> None:
    chain.request("evm_setAutomine", [False])
    for number in range(count):
        sent = {"from": chain.accounts[number], "to": chain.accounts[9], "gas": hex(21_000)}
        chain.request("eth_sendTransaction", [sent])
    chain.request("evm_mine")
    block = chain.request("eth_getBlockByNumber", ["latest"])
    assert len(block["transactions"]) == count
    trie = HexaryTrie({})
    for index, transaction in enumerate(block["transactions"]):
        trie[rlp.encode(index)] = to_bytes(hexstr=chain.request("eth_getRawTransactionByHash", [transaction]))
    assert block["transactionsRoot"] == "0x" + trie.root_hash.hex()


def test_a_transaction(chain: EmbeddedChain) -> None:
    receipt = send(chain, chain.accounts[1], "0xabcd", value=hex(5))
    shown = chain.request("eth_getTransactionByHash", [receipt["transactionHash"]])
    quantities(
        shown,
        "blockNumber",
        "transactionIndex",
        "type",
        "nonce",
        "gas",
        "value",
        "v",
        "r",
        "s",
        "yParity",
        "gasPrice",
        "maxFeePerGas",
        "maxPriorityFeePerGas",
        "chainId",
    )
    assert shown["input"] == "0xabcd"
    assert shown["type"] == "0x2"
    assert (shown["from"], shown["to"]) == (chain.accounts[0], chain.accounts[1])
    assert shown["blockHash"] == receipt["blockHash"]
    assert shown["gasPrice"] == receipt["effectiveGasPrice"]
    for place in (
        ["eth_getTransactionByBlockNumberAndIndex", "0x1"],
        ["eth_getTransactionByBlockHashAndIndex", receipt["blockHash"]],
    ):
        assert chain.request(place[0], [place[1], "0x0"]) == shown
        assert chain.request(place[0], [place[1], "0x1"]) is None


def test_a_receipt(chain: EmbeddedChain) -> None:
    emitter = deploy(chain, EMIT)
    receipt = send(chain, emitter, topic("Seen()") + "ff")
    quantities(
        receipt,
        "transactionIndex",
        "blockNumber",
        "cumulativeGasUsed",
        "gasUsed",
        "effectiveGasPrice",
        "status",
        "type",
    )
    assert receipt["contractAddress"] is None
    assert receipt["status"] == "0x1"
    (log,) = receipt["logs"]
    quantities(log, "blockNumber", "transactionIndex", "logIndex", "blockTimestamp")
    assert (log["address"], log["topics"], log["data"]) == (emitter, [topic("Seen()")], "0xff")
    assert log["removed"] is False
    assert chain.request("eth_getBlockReceipts", ["latest"]) == [receipt]
    assert chain.request("eth_getBlockReceipts", [receipt["blockHash"]]) == [receipt]


def test_a_contract_is_created_at_the_address_in_its_receipt(chain: EmbeddedChain) -> None:
    receipt = send(chain, None, "0x00")
    assert receipt["to"] is None
    assert receipt["contractAddress"] == "0x5FbDB2315678afecb367f032d93F642f64180aa3"


def test_missing_objects_are_null(chain: EmbeddedChain) -> None:
    nothing = word(7)
    assert chain.request("eth_getBlockByNumber", ["0x99"]) is None
    assert chain.request("eth_getBlockByHash", [nothing]) is None
    assert chain.request("eth_getTransactionByHash", [nothing]) is None
    assert chain.request("eth_getTransactionReceipt", [nothing]) is None
    assert chain.request("eth_getBlockReceipts", ["0x99"]) is None
    assert chain.request("eth_getCode", ["0x" + "77" * 20]) == "0x"
    assert chain.request("eth_getBalance", ["0x" + "77" * 20]) == "0x0"


def test_tags(chain: EmbeddedChain) -> None:
    send(chain, chain.accounts[1], value="0x1")
    for tag in ("latest", "safe", "finalized"):
        assert chain.request("eth_getBlockByNumber", [tag])["number"] == "0x1"
    assert chain.request("eth_getBlockByNumber", ["earliest"])["number"] == "0x0"
    pending = chain.request("eth_getBlockByNumber", ["pending"])
    assert (pending["number"], len(pending["hash"]), pending["nonce"]) == ("0x2", 66, None)


def test_state_of_old_blocks(chain: EmbeddedChain) -> None:
    target = "0x" + "77" * 20
    for value in (5, 6):
        send(chain, target, value=hex(value))
    assert [chain.request("eth_getBalance", [target, hex(number)]) for number in range(3)] == ["0x0", "0x5", "0xb"]
    block = chain.request("eth_getBlockByNumber", ["0x1"])
    assert chain.request("eth_getBalance", [target, {"blockHash": block["hash"]}]) == "0x5"
    assert chain.request("eth_getBalance", [target, {"blockNumber": "0x1"}]) == "0x5"
    assert chain.request("eth_getTransactionCount", [chain.accounts[0], "0x1"]) == "0x1"
    with pytest.raises(RpcError, match="header not found"):
        chain.request("eth_getBalance", [target, "0x99"])


def test_fees(chain: EmbeddedChain) -> None:
    for _ in range(3):
        send(chain, chain.accounts[1], value="0x1", maxFeePerGas=hex(10**10), maxPriorityFeePerGas=hex(7))
    history = chain.request("eth_feeHistory", ["0x2", "latest", [0, 50, 100]])
    assert history["oldestBlock"] == "0x2"
    assert history["reward"] == [["0x7"] * 3] * 2
    assert history["gasUsedRatio"] == [21_000 / 30_000_000] * 2
    fees = [chain.request("eth_getBlockByNumber", [tag])["baseFeePerGas"] for tag in ("0x2", "0x3", "pending")]
    assert history["baseFeePerGas"] == fees
    assert int(chain.request("eth_gasPrice"), 16) > int(fees[-1], 16)
    quantities({"tip": chain.request("eth_maxPriorityFeePerGas")}, "tip")


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("eth_doesNotExist", [], -32601),
        ("eth_subscribe", ["newHeads"], -32601),
        ("eth_getBalance", [], -32602),
        ("eth_getBalance", ["0x12"], -32602),
        ("eth_getBalance", ["0x" + "77" * 20, "yesterday"], -32602),
        ("eth_getBlockByNumber", ["0xzz"], -32602),
        ("eth_chainId", [1], -32602),
        ("eth_call", ["0x"], -32602),
        ("eth_getLogs", [[]], -32602),
        ("eth_sendRawTransaction", ["0x1234567"], -32602),
        ("eth_sendRawTransaction", ["0x"], -32000),
        ("eth_sendRawTransaction", ["0x04c0"], -32000),
        ("eth_sendRawTransaction", ["0x02f8"], -32000),
        ("eth_getFilterChanges", ["0x77"], -32000),
        ("debug_traceTransaction", [word(1)], -32000),
    ],
)
def test_invalid_requests_are_refused_with_a_message(
    chain: EmbeddedChain, method: str, params: list[Any], code: int
) -> None:
    with pytest.raises(RpcError) as refusal:
        chain.request(method, params)
    assert refusal.value.code == code
    assert refusal.value.message


def test_a_copy_is_independent(chain: EmbeddedChain) -> None:
    send(chain, chain.accounts[1], value="0x1")
    before = chain.request("eth_getBlockByNumber", ["latest", True])
    copy = chain.copy()
    assert copy.request("eth_getBlockByNumber", ["latest", True]) == before
    send(copy, "0x" + "77" * 20, value="0x5")
    assert chain.request("eth_getBlockByNumber", ["latest", True]) == before
    assert chain.request("eth_getBalance", ["0x" + "77" * 20]) == "0x0"
    send(chain, "0x" + "77" * 20, value="0x6")
    assert copy.request("eth_getBalance", ["0x" + "77" * 20]) == "0x5"
