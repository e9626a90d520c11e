# SPDX-License-Identifier: Apache-2.0
"""The clock and snapshots."""

from __future__ import annotations

import time

import pytest

from serving_network.errors import RpcError
from serving_network.localchain import EmbeddedChain
from tests.localchain.programs import STORE, deploy, send, word

DAY = 86_400


def latest_time(chain: EmbeddedChain) -> int:
    return int(chain.request("eth_getBlockByNumber", ["latest"])["timestamp"], 16)


def test_time_is_that_of_this_machine(chain: EmbeddedChain) -> None:
    send(chain, chain.accounts[1])
    assert abs(latest_time(chain) - time.time()) < 5


def test_time_can_start_anywhere_and_never_goes_back() -> None:
    chain = EmbeddedChain(genesis_time=1_700_000_000)
    send(chain, chain.accounts[1])
    assert 1_700_000_000 <= latest_time(chain) < 1_700_000_060
    with pytest.raises(RpcError, match="is before the latest block"):
        chain.request("evm_setNextBlockTimestamp", [hex(1_600_000_000)])


def test_moving_the_clock_forward(chain: EmbeddedChain) -> None:
    start = latest_time(chain)
    assert int(chain.request("evm_increaseTime", [DAY]), 16) == DAY
    assert latest_time(chain) == start
    chain.request("evm_mine")
    assert DAY <= latest_time(chain) - start < DAY + 60
    send(chain, chain.accounts[1])
    assert DAY <= latest_time(chain) - start < DAY + 60


def test_the_next_block_at_an_exact_time(chain: EmbeddedChain) -> None:
    when = latest_time(chain) + 1000
    chain.request("evm_setNextBlockTimestamp", [hex(when)])
    contract = deploy(chain, "TIMESTAMP PUSH0 MSTORE PUSH1 0x20 PUSH0 RETURN")
    assert latest_time(chain) == when
    assert int(chain.request("eth_call", [{"to": contract}]), 16) == when
    chain.request("evm_mine", [hex(when + 500)])
    assert latest_time(chain) == when + 500
    send(chain, chain.accounts[1])
    assert when + 500 <= latest_time(chain) < when + 560


def test_many_blocks_at_once(chain: EmbeddedChain) -> None:
    start = latest_time(chain)
    chain.request("hardhat_mine", ["0x5", "0x3c"])
    assert chain.request("eth_blockNumber") == "0x5"
    assert 240 <= latest_time(chain) - start < 300
    chain.request("evm_mine", [{"blocks": 3}])
    assert chain.request("eth_blockNumber") == "0x8"


def test_a_snapshot_restores_everything(chain: EmbeddedChain) -> None:
    contract = deploy(chain, STORE)
    send(chain, contract, word(0) + word(5)[2:])
    block, start = chain.request("eth_getBlockByNumber", ["latest"]), latest_time(chain)
    waiting_before = chain.request("txpool_status")
    snapshot = chain.request("evm_snapshot")
    receipt = send(chain, contract, word(0) + word(0)[2:])
    other = deploy(chain, STORE)
    chain.request("hardhat_setBalance", [chain.accounts[5], "0x0"])
    chain.request("evm_increaseTime", [DAY])
    chain.request("evm_setAutomine", [False])
    chain.request("eth_sendTransaction", [{"from": chain.accounts[1], "to": contract, "gas": hex(50_000)}])
    assert chain.request("evm_revert", [snapshot]) is True
    assert chain.request("eth_getBlockByNumber", ["latest"]) == block
    assert chain.request("eth_getStorageAt", [contract, "0x0"]) == word(5)
    assert chain.request("eth_getCode", [other]) == "0x"
    assert chain.request("eth_getBalance", [chain.accounts[5]]) == hex(10**24)
    assert chain.request("eth_getTransactionReceipt", [receipt["transactionHash"]]) is None
    assert chain.request("eth_getBlockByHash", [receipt["blockHash"]]) is None
    assert chain.request("txpool_status") == waiting_before
    chain.request("evm_mine")
    assert latest_time(chain) - start < 60


def test_a_snapshot_is_used_up_with_all_later_ones(chain: EmbeddedChain) -> None:
    first = chain.request("evm_snapshot")
    send(chain, chain.accounts[1])
    second = chain.request("evm_snapshot")
    assert chain.request("evm_revert", [first]) is True
    assert chain.request("evm_revert", [second]) is False
    assert chain.request("evm_revert", [first]) is False
    assert chain.request("evm_revert", ["0x77"]) is False
    assert chain.request("eth_blockNumber") == "0x0"


def test_nested_snapshots(chain: EmbeddedChain) -> None:
    target = "0x" + "77" * 20
    marks = []
    for _ in range(3):
        marks.append(chain.request("evm_snapshot"))
        send(chain, target, value="0x1")
    for number, mark in reversed(list(enumerate(marks))):
        assert chain.request("evm_revert", [mark]) is True
        assert chain.request("eth_getBalance", [target]) == hex(number)


def test_after_going_back_the_same_things_can_happen_again(chain: EmbeddedChain) -> None:
    snapshot = chain.request("evm_snapshot")
    first = deploy(chain, STORE)
    chain.request("evm_revert", [snapshot])
    assert deploy(chain, STORE) == first
    history = [chain.request("eth_getCode", [first, number]) for number in ("0x0", "0x1")]
    assert history[0] == "0x"
    assert history[1] != "0x"


def test_contracts_can_read_old_block_hashes(chain: EmbeddedChain) -> None:
    contract = deploy(chain, "PUSH0 CALLDATALOAD BLOCKHASH PUSH0 MSTORE PUSH1 0x20 PUSH0 RETURN")
    chain.request("hardhat_mine", [hex(300)])
    head = int(chain.request("eth_blockNumber"), 16)

    def seen(number: int) -> str:
        answer: str = chain.request("eth_call", [{"to": contract, "data": word(number)}])
        return answer

    for number in (head - 1, head - 256):
        assert seen(number) == chain.request("eth_getBlockByNumber", [hex(number)])["hash"]
    for number in (head, head - 257, head + 1):
        assert seen(number) == word(0)


def test_the_beacon_roots_contract_knows_each_block(chain: EmbeddedChain) -> None:
    """Cancun stores the parent beacon root by the block's timestamp (EIP-4788); here that root is zero."""
    contract = "0x000F3df6D732807Ef1319fB7B8bB8522d0Beac02"
    chain.request("evm_mine")
    asked = {"to": contract, "data": word(latest_time(chain))}
    assert chain.request("eth_call", [asked]) == word(0)
    with pytest.raises(RpcError, match="execution reverted"):
        chain.request("eth_call", [asked | {"data": word(latest_time(chain) - 1)}])
