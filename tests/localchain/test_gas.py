# SPDX-License-Identifier: Apache-2.0
"""Exact gas, compared with numbers that follow from the yellow paper and the EIPs."""

from __future__ import annotations

import itertools

import pytest

from serving_network.localchain import EmbeddedChain
from tests.localchain.programs import STORE, assemble, creation, deploy, gas_of, send, word

TRANSACTION = 21_000
COLD_SLOT, WARM_ACCESS, COLD_ACCOUNT = 2_100, 100, 2_600
SET, CHANGE, CLEAR_REFUND = 20_000, 2_900, 4_800
STORE_STEPS = 3 + 3 + 2 + 3  # PUSH1, CALLDATALOAD, PUSH0, CALLDATALOAD


def store(chain: EmbeddedChain, contract: str, slot: int, value: int) -> tuple[int, int]:
    """The gas of storing: in the receipt, and without the transaction and its input."""
    data = slot.to_bytes(32, "big") + value.to_bytes(32, "big")
    used = gas_of(send(chain, contract, "0x" + data.hex()))
    input_gas = sum(16 if byte else 4 for byte in data)
    return used, used - TRANSACTION - input_gas - STORE_STEPS


def test_a_plain_transfer(chain: EmbeddedChain) -> None:
    assert gas_of(send(chain, chain.accounts[1], value="0x1")) == TRANSACTION


def test_input_bytes(chain: EmbeddedChain) -> None:
    assert gas_of(send(chain, chain.accounts[1], "0x00010203")) == TRANSACTION + 4 + 3 * 16


def test_an_access_list(chain: EmbeddedChain) -> None:
    contract = deploy(chain, STORE)
    data = word(0) + word(7)[2:]
    plain = gas_of(send(chain, contract, data, gasPrice=hex(10**10)))
    chain.request("hardhat_setStorageAt", [contract, "0x0", word(0)])
    listed = gas_of(
        send(
            chain,
            contract,
            data,
            gasPrice=hex(10**10),
            accessList=[{"address": contract, "storageKeys": [word(0)]}],
        )
    )
    assert listed == plain + 2_400 + 1_900 - COLD_SLOT


def test_slots_set_changed_and_left_alone(chain: EmbeddedChain) -> None:
    contract = deploy(chain, STORE)
    assert store(chain, contract, 0, 5)[1] == COLD_SLOT + SET
    assert store(chain, contract, 0, 6)[1] == COLD_SLOT + CHANGE
    assert store(chain, contract, 0, 6)[1] == COLD_SLOT + WARM_ACCESS


def test_a_cleared_slot_refunds_gas(chain: EmbeddedChain) -> None:
    contract = deploy(chain, STORE)
    store(chain, contract, 0, 5)
    assert store(chain, contract, 0, 0)[1] == COLD_SLOT + CHANGE - CLEAR_REFUND


def test_refunds_are_capped_at_a_fifth(chain: EmbeddedChain) -> None:
    clear_many = " ".join(f"PUSH0 PUSH1 0x{slot:02x} SSTORE" for slot in range(20))
    contract = deploy(chain, clear_many + " STOP")
    for slot in range(20):
        chain.request("hardhat_setStorageAt", [contract, hex(slot), word(1)])
    before_refund = TRANSACTION + 20 * (2 + 3 + COLD_SLOT + CHANGE)
    assert before_refund // 5 < 20 * CLEAR_REFUND
    assert gas_of(send(chain, contract)) == before_refund - before_refund // 5


def test_transient_storage_costs_100_and_ends_with_the_transaction(chain: EmbeddedChain) -> None:
    contract = deploy(chain, "PUSH0 TLOAD PUSH0 SSTORE PUSH1 0x05 PUSH0 TSTORE STOP")
    expected = TRANSACTION + 2 + 100 + 2 + COLD_SLOT + WARM_ACCESS + 3 + 2 + 100
    assert gas_of(send(chain, contract)) == expected
    assert gas_of(send(chain, contract)) == expected
    assert chain.request("eth_getStorageAt", [contract, "0x0"]) == word(0)


def test_transient_storage_is_cleared_between_transactions_of_one_block(chain: EmbeddedChain) -> None:
    contract = deploy(chain, "PUSH0 TLOAD PUSH0 SSTORE PUSH1 0x05 PUSH0 TSTORE STOP")
    chain.request("evm_setAutomine", [False])
    for _ in range(2):
        chain.request("eth_sendTransaction", [{"from": chain.accounts[0], "to": contract, "gas": hex(100_000)}])
    chain.request("evm_mine")
    assert len(chain.request("eth_getBlockByNumber", ["latest"])["transactions"]) == 2
    assert chain.request("eth_getStorageAt", [contract, "0x0"]) == word(0)


def test_slots_are_cold_again_in_the_next_transaction_of_a_block(chain: EmbeddedChain) -> None:
    contract = deploy(chain, "PUSH0 SLOAD POP PUSH0 SLOAD POP STOP")
    chain.request("evm_setAutomine", [False])
    sent = [
        chain.request("eth_sendTransaction", [{"from": chain.accounts[0], "to": contract, "gas": hex(100_000)}])
        for _ in range(2)
    ]
    chain.request("evm_mine")
    for transaction in sent:
        receipt = chain.request("eth_getTransactionReceipt", [transaction])
        assert gas_of(receipt) == TRANSACTION + 2 + COLD_SLOT + 2 + 2 + WARM_ACCESS + 2


def test_a_failed_call_leaves_its_slots_cold(chain: EmbeddedChain) -> None:
    """A slot that a reverted call warmed is cold again for later calls (EIP-2929)."""
    inner = deploy(chain, "PUSH0 SLOAD PUSH0 PUSH0 REVERT")
    call = f"PUSH0 PUSH0 PUSH0 PUSH0 PUSH20 {inner} GAS STATICCALL POP"
    outer = deploy(chain, f"{call} {call} STOP")
    # The address of the inner contract stays warm; its slot does not.
    inner_gas = 2 + COLD_SLOT + 2 + 2
    steps = 4 * 2 + 3 + 2 + 2
    assert gas_of(send(chain, outer)) == TRANSACTION + 2 * (steps + inner_gas) + COLD_ACCOUNT + WARM_ACCESS


def test_creating_a_contract(chain: EmbeddedChain) -> None:
    runtime = assemble("PUSH0 PUSH0 RETURN")
    code = creation(runtime)
    receipt = send(chain, None, "0x" + code.hex())
    input_gas = sum(16 if byte else 4 for byte in code)
    steps = 3 + 3 + 3 + 2 + 3 + 3 + 3 + 2  # with one word copied and one word of memory
    initcode_words = 2 * ((len(code) + 31) // 32)
    assert gas_of(receipt) == TRANSACTION + 32_000 + input_gas + initcode_words + steps + 200 * len(runtime)
    assert chain.request("eth_getCode", [receipt["contractAddress"]]) == "0x" + runtime.hex()


def test_initcode_has_a_limit(chain: EmbeddedChain) -> None:
    with pytest.raises(Exception, match="max initcode size exceeded"):
        send(chain, None, "0x" + "00" * 49_153, gas=hex(5_000_000))
    assert send(chain, None, "0x" + "00" * 49_152, gas=hex(5_000_000))["status"] == "0x1"


def test_sixty_three_sixty_fourths(chain: EmbeddedChain) -> None:
    """A callee receives all gas but a 64th, and the gas that it burns is lost."""
    burner = deploy(chain, "INVALID")
    caller = deploy(chain, f"PUSH0 PUSH0 PUSH0 PUSH0 PUSH20 {burner} GAS STATICCALL POP STOP")
    limit = 200_000
    left = limit - TRANSACTION - 4 * 2 - 3 - 2 - COLD_ACCOUNT
    expected = limit - left // 64 + 2
    assert gas_of(send(chain, caller, gas=hex(limit))) == expected


def test_gas_is_paid_to_the_last_wei(chain: EmbeddedChain) -> None:
    sender, receiver = chain.accounts[0], "0x" + "77" * 20

    def coins(address: str) -> int:
        return int(chain.request("eth_getBalance", [address]), 16)

    before = coins(sender)
    receipt = send(chain, receiver, value=hex(12_345))
    block = chain.request("eth_getBlockByNumber", ["latest"])
    paid = gas_of(receipt) * int(receipt["effectiveGasPrice"], 16)
    assert coins(sender) == before - 12_345 - paid
    assert coins(receiver) == 12_345
    burnt = gas_of(receipt) * int(block["baseFeePerGas"], 16)
    assert coins(block["miner"]) == paid - burnt


def test_the_base_fee_follows_eip_1559() -> None:
    chain = EmbeddedChain(gas_limit=63_000)
    # Blocks alternate between full, half full (just above the target) and empty.
    fees = []
    for count in (3, 2, 1, 0, 3):
        chain.request("evm_setAutomine", [False])
        for number in range(count):
            sent = {
                "from": chain.accounts[number],
                "to": chain.accounts[9],
                "gas": hex(21_000),
                "maxFeePerGas": hex(10**11),
            }
            chain.request("eth_sendTransaction", [sent])
        chain.request("evm_mine")
        block = chain.request("eth_getBlockByNumber", ["latest"])
        assert int(block["gasUsed"], 16) == 21_000 * count
        fees.append((int(block["baseFeePerGas"], 16), int(block["gasUsed"], 16)))
    fees.append((int(chain.request("eth_getBlockByNumber", ["pending"])["baseFeePerGas"], 16), 0))
    target = 31_500
    for (fee, used), (following, _) in itertools.pairwise(fees):
        change = fee * abs(used - target) // target // 8
        assert following == fee + max(change, 1) if used > target else following == fee - change


def test_a_base_fee_of_a_block_can_be_set(chain: EmbeddedChain) -> None:
    chain.request("hardhat_setNextBlockBaseFeePerGas", [hex(5 * 10**9)])
    receipt = send(chain, chain.accounts[1], value="0x1")
    assert int(receipt["effectiveGasPrice"], 16) == 6 * 10**9


def test_an_estimate_covers_the_next_second(chain: EmbeddedChain) -> None:
    """A contract that stores the time stores nothing new in the second in which it was last called."""
    stamp = deploy(chain, "TIMESTAMP PUSH0 SSTORE STOP")
    stamped = int(send(chain, stamp)["blockNumber"], 16)
    now = int(chain.request("eth_getBlockByNumber", [hex(stamped)])["timestamp"], 16)
    chain.request("evm_setNextBlockTimestamp", [now])
    call = {"from": chain.accounts[0], "to": stamp}
    limit = chain.request("eth_estimateGas", [call])
    chain.request("evm_setNextBlockTimestamp", [now + 1])
    mined = send(chain, stamp, gas=limit)
    assert mined["status"] == "0x1"
    assert gas_of(mined) == TRANSACTION + 2 + 2 + COLD_SLOT + CHANGE


def test_an_estimate_for_what_works_in_this_second_only(chain: EmbeddedChain) -> None:
    now = int(chain.request("eth_getBlockByNumber", ["latest"])["timestamp"], 16) + 100
    until = deploy(chain, f"PUSH4 0x{now:08x} TIMESTAMP GT :late JUMPI STOP @late PUSH0 PUSH0 REVERT")
    chain.request("evm_setNextBlockTimestamp", [now])
    assert int(chain.request("eth_estimateGas", [{"to": until}]), 16) == TRANSACTION + 3 + 2 + 3 + 3 + 10
    chain.request("evm_setNextBlockTimestamp", [now + 1])
    with pytest.raises(Exception, match="execution reverted"):
        chain.request("eth_estimateGas", [{"to": until}])
