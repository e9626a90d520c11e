# SPDX-License-Identifier: Apache-2.0
"""Logs: queries, filters and subscriptions."""

from __future__ import annotations

from typing import Any

import pytest
from eth_bloom.bloom import BloomFilter

from serving_network.errors import RpcError
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.events import Events
from tests.localchain.programs import EMIT, assemble, deploy, send, topic, word

SEEN, HEARD = topic("Seen()"), topic("Heard()")
EMIT_TWO_TOPICS = "PUSH1 0x20 CALLDATALOAD PUSH0 CALLDATALOAD PUSH0 PUSH0 LOG2 STOP"


@pytest.fixture
def emitters(chain: EmbeddedChain) -> tuple[str, str]:
    return deploy(chain, EMIT), deploy(chain, EMIT_TWO_TOPICS)


def data_of(logs: list[dict[str, Any]]) -> list[str]:
    return [log["data"] for log in logs]


def emit(chain: EmbeddedChain, emitter: str, event: str, data: str) -> dict[str, Any]:
    return send(chain, emitter, event + data)


def test_ranges(chain: EmbeddedChain, emitters: tuple[str, str]) -> None:
    for data in ("01", "02", "03"):
        emit(chain, emitters[0], SEEN, data)
    ask = chain.request
    assert data_of(ask("eth_getLogs", [{"fromBlock": "0x0", "toBlock": "latest"}])) == ["0x01", "0x02", "0x03"]
    assert data_of(ask("eth_getLogs", [{"fromBlock": "earliest", "toBlock": "0x4"}])) == ["0x01", "0x02"]
    assert data_of(ask("eth_getLogs", [{"fromBlock": "0x5", "toBlock": "0x99"}])) == ["0x03"]
    assert data_of(ask("eth_getLogs", [{}])) == ["0x03"]
    assert ask("eth_getLogs", [{"fromBlock": "0x50", "toBlock": "0x60"}]) == []
    with pytest.raises(RpcError, match="invalid block range"):
        ask("eth_getLogs", [{"fromBlock": "0x5", "toBlock": "0x4"}])


def test_addresses_and_topics(chain: EmbeddedChain, emitters: tuple[str, str]) -> None:
    one, two = emitters
    emit(chain, one, SEEN, "01")
    emit(chain, one, HEARD, "02")
    send(chain, two, SEEN + word(7)[2:])
    everything = {"fromBlock": "0x0"}

    def count(**criteria: Any) -> int:
        return len(chain.request("eth_getLogs", [everything | criteria]))

    assert count() == 3
    assert count(address=one) == 2
    assert count(address=[one, two]) == 3
    assert count(address=one.lower()) == 2
    assert count(topics=[SEEN]) == 2
    assert count(topics=[[SEEN, HEARD]]) == 3
    assert count(topics=[None, word(7)]) == 1
    assert count(topics=[SEEN, None]) == 1
    assert count(topics=[SEEN, word(8)]) == 0
    assert count(topics=[[], [word(7)]]) == 1
    assert count(address=one, topics=[HEARD]) == 1


def test_by_block_hash(chain: EmbeddedChain, emitters: tuple[str, str]) -> None:
    receipt = emit(chain, emitters[0], SEEN, "01")
    emit(chain, emitters[0], SEEN, "02")
    assert chain.request("eth_getLogs", [{"blockHash": receipt["blockHash"]}]) == receipt["logs"]
    with pytest.raises(RpcError, match="unknown block"):
        chain.request("eth_getLogs", [{"blockHash": word(1)}])
    with pytest.raises(RpcError, match="cannot specify both"):
        chain.request("eth_getLogs", [{"blockHash": receipt["blockHash"], "fromBlock": "0x0"}])


def test_log_indexes_count_through_a_block(chain: EmbeddedChain) -> None:
    twice = deploy(chain, "PUSH0 PUSH0 LOG0 PUSH0 PUSH0 LOG0 STOP")
    chain.request("evm_setAutomine", [False])
    for number in range(2):
        asked = {"from": chain.accounts[number], "to": twice, "gas": hex(100_000)}
        chain.request("eth_sendTransaction", [asked])
    chain.request("evm_mine")
    logs = chain.request("eth_getLogs", [{}])
    assert [log["logIndex"] for log in logs] == ["0x0", "0x1", "0x2", "0x3"]
    assert [log["transactionIndex"] for log in logs] == ["0x0", "0x0", "0x1", "0x1"]


def test_logs_of_a_failed_call_are_discarded(chain: EmbeddedChain) -> None:
    inner = deploy(chain, "PUSH0 PUSH0 LOG0 PUSH0 PUSH0 REVERT")
    outer = deploy(chain, f"PUSH0 PUSH0 PUSH0 PUSH0 PUSH0 PUSH20 {inner} GAS CALL POP PUSH0 PUSH0 LOG0 STOP")
    assert [log["address"] for log in send(chain, outer)["logs"]] == [outer]


def test_the_bloom_contains_address_and_topics(chain: EmbeddedChain, emitters: tuple[str, str]) -> None:
    receipt = emit(chain, emitters[0], SEEN, "01")
    bloom = BloomFilter(int(receipt["logsBloom"], 16))
    assert bytes.fromhex(emitters[0][2:]) in bloom
    assert bytes.fromhex(SEEN[2:]) in bloom
    assert bytes.fromhex(HEARD[2:]) not in bloom
    assert chain.request("eth_getBlockByNumber", ["latest"])["logsBloom"] == receipt["logsBloom"]


def test_filters_return_what_is_new(chain: EmbeddedChain, emitters: tuple[str, str]) -> None:
    emit(chain, emitters[0], SEEN, "01")
    logs = chain.request("eth_newFilter", [{"address": emitters[0], "fromBlock": "0x0"}])
    blocks = chain.request("eth_newBlockFilter")
    assert chain.request("eth_getFilterChanges", [logs]) == []
    emit(chain, emitters[0], SEEN, "02")
    emit(chain, emitters[1], SEEN, word(1)[2:])
    assert data_of(chain.request("eth_getFilterChanges", [logs])) == ["0x02"]
    assert chain.request("eth_getFilterChanges", [logs]) == []
    assert data_of(chain.request("eth_getFilterLogs", [logs])) == ["0x01", "0x02"]
    hashes = [chain.request("eth_getBlockByNumber", [number])["hash"] for number in ("0x4", "0x5")]
    assert chain.request("eth_getFilterChanges", [blocks]) == hashes
    assert chain.request("eth_uninstallFilter", [logs]) is True
    assert chain.request("eth_uninstallFilter", [logs]) is False
    with pytest.raises(RpcError, match="filter not found"):
        chain.request("eth_getFilterChanges", [logs])


def test_a_filter_that_is_not_polled_is_removed(chain: EmbeddedChain) -> None:
    now = [0.0]
    events = Events(clock=lambda: now[0])
    kept, lost = events.new_block_filter(), events.new_block_filter()
    chain.request("evm_mine")
    block = chain._chain.head
    for now[0] in (200.0, 400.0):
        events.notify(block, False)
        assert len(events.changes(kept)) == 1
    with pytest.raises(RpcError, match="filter not found"):
        events.changes(lost)


def test_logs_of_undone_blocks_are_reported_as_removed(chain: EmbeddedChain, emitters: tuple[str, str]) -> None:
    notified: list[tuple[str, Any]] = []
    name = chain.subscribe(
        "logs", {"address": emitters[0]}, lambda _, what: notified.append((what["data"], what["removed"]))
    )
    watched = chain.request("eth_newFilter", [{"address": emitters[0]}])
    snapshot = chain.request("evm_snapshot")
    emit(chain, emitters[0], SEEN, "01")
    emit(chain, emitters[0], SEEN, "02")
    chain.request("evm_revert", [snapshot])
    emit(chain, emitters[0], SEEN, "03")
    expected = [("0x01", False), ("0x02", False), ("0x02", True), ("0x01", True), ("0x03", False)]
    assert notified == expected
    changes = chain.request("eth_getFilterChanges", [watched])
    assert [(log["data"], log["removed"]) for log in changes] == expected
    assert chain.unsubscribe(name) is True
    emit(chain, emitters[0], SEEN, "04")
    assert len(notified) == len(expected)


def test_contracts_that_destroy_themselves(chain: EmbeddedChain) -> None:
    """Since cancun a contract is deleted only in the transaction that created it; its coins always move."""
    target = "0x" + "99" * 20
    old = deploy(chain, f"PUSH20 {target} SELFDESTRUCT")
    assert send(chain, old, value="0x5")["status"] == "0x1"
    assert chain.request("eth_getCode", [old]) != "0x"
    assert chain.request("eth_getBalance", [target]) == "0x5"
    receipt = send(chain, None, "0x" + assemble(f"PUSH1 0x07 PUSH0 SSTORE PUSH20 {target} SELFDESTRUCT").hex())
    young = receipt["contractAddress"]
    assert chain.request("eth_getStorageAt", [young, "0x0"]) == word(0)
    assert chain.request("eth_getTransactionCount", [young]) == "0x0"
