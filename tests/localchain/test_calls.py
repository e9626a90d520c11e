# SPDX-License-Identifier: Apache-2.0
"""eth_call, its failures, gas estimates and traces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils import keccak

from serving_network.errors import RpcError
from serving_network.localchain import EmbeddedChain, execution
from tests.localchain.programs import LOAD, REVERT, STORE, STORE_OR_LOAD, creation, deploy, gas_of, send, word


def revert_with(chain: EmbeddedChain, method: str, data: str) -> RpcError:
    contract = deploy(chain, REVERT)
    with pytest.raises(RpcError) as refusal:
        chain.request(method, [{"to": contract, "data": data}])
    return refusal.value


@pytest.mark.parametrize("method", ["eth_call", "eth_estimateGas"])
def test_the_data_of_a_custom_error_is_complete(chain: EmbeddedChain, method: str) -> None:
    data = "0x" + (keccak(text="TooMany(uint256,string)")[:4] + encode(["uint256", "string"], [7, "x" * 5000])).hex()
    error = revert_with(chain, method, data)
    assert (error.code, error.message, error.data) == (3, "execution reverted", data)


@pytest.mark.parametrize("method", ["eth_call", "eth_estimateGas"])
def test_a_reason_is_in_the_message(chain: EmbeddedChain, method: str) -> None:
    data = "0x" + (keccak(text="Error(string)")[:4] + encode(["string"], ["not today"])).hex()
    error = revert_with(chain, method, data)
    assert (error.code, error.message, error.data) == (3, "execution reverted: not today", data)


def test_a_panic_is_explained(chain: EmbeddedChain) -> None:
    data = "0x" + (keccak(text="Panic(uint256)")[:4] + encode(["uint256"], [0x11])).hex()
    assert revert_with(chain, "eth_call", data).message == "execution reverted: arithmetic underflow or overflow"


def test_an_empty_revert_has_empty_data(chain: EmbeddedChain) -> None:
    error = revert_with(chain, "eth_call", "0x")
    assert (error.code, error.message, error.data) == (3, "execution reverted", "0x")


def test_an_incomplete_reason_is_ignored(chain: EmbeddedChain) -> None:
    assert revert_with(chain, "eth_call", "0x08c379a0ffff").message == "execution reverted"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("INVALID", "invalid opcode"),
        ("POP", "stack underflow"),
        ("PUSH0 JUMP", "invalid jump destination"),
        ("@again :again JUMP", "out of gas"),
        ("PUSH1 0x01 PUSH0 PUSH0 RETURNDATACOPY", "return data out of bounds"),
    ],
)
def test_other_failures_have_no_data(chain: EmbeddedChain, program: str, message: str) -> None:
    contract = deploy(chain, program)
    with pytest.raises(RpcError) as refusal:
        chain.request("eth_call", [{"to": contract, "gas": hex(100_000)}])
    assert (refusal.value.code, refusal.value.message, refusal.value.data) == (-32000, message, None)


def test_a_contract_above_the_size_limit_cannot_be_created(chain: EmbeddedChain) -> None:
    code = "0x" + creation(bytes(24_577)).hex()
    with pytest.raises(RpcError, match="max code size exceeded"):
        chain.request("eth_call", [{"data": code}])
    assert send(chain, None, code, gas=hex(10_000_000))["status"] == "0x0"
    assert send(chain, None, "0x" + creation(bytes(24_576)).hex(), gas=hex(10_000_000))["status"] == "0x1"


def test_a_transaction_that_reverts_is_mined_as_failed(chain: EmbeddedChain) -> None:
    receipt = send(chain, deploy(chain, REVERT), "0xff")
    assert receipt["status"] == "0x0"
    assert receipt["logs"] == []


def test_calls_change_nothing(chain: EmbeddedChain) -> None:
    contract = deploy(chain, STORE)
    assert chain.request("eth_call", [{"to": contract, "data": word(0) + word(5)[2:]}]) == "0x"
    assert chain.request("eth_getStorageAt", [contract, "0x0"]) == word(0)


def test_calls_see_old_blocks(chain: EmbeddedChain) -> None:
    contract = deploy(chain, STORE_OR_LOAD)
    for value in (5, 6, 0, 7):
        send(chain, contract, word(0) + word(value)[2:])
    seen = [chain.request("eth_call", [{"to": contract, "data": word(0)}, hex(number)]) for number in range(1, 6)]
    assert seen == [word(value) for value in (0, 5, 6, 0, 7)]
    assert chain.request("eth_getStorageAt", [contract, "0x0", "0x3"]) == word(6)


def test_calls_of_the_pending_block_see_the_pool(chain: EmbeddedChain) -> None:
    contract = deploy(chain, STORE_OR_LOAD)
    chain.request("evm_setAutomine", [False])
    asked = {"from": chain.accounts[0], "to": contract, "data": word(0) + word(9)[2:], "gas": hex(100_000)}
    sent = chain.request("eth_sendTransaction", [asked])
    assert chain.request("eth_call", [{"to": contract, "data": word(0)}, "latest"]) == word(0)
    assert chain.request("eth_call", [{"to": contract, "data": word(0)}, "pending"]) == word(9)
    assert chain.request("eth_getTransactionReceipt", [sent]) is None
    assert chain.request("eth_getTransactionByHash", [sent])["blockHash"] is None


def test_a_call_may_ask_for_more_gas_than_a_block_has(chain: EmbeddedChain) -> None:
    burn = deploy(chain, "GAS PUSH0 MSTORE PUSH1 0x20 PUSH0 RETURN")
    default = int(chain.request("eth_call", [{"to": burn}]), 16)
    assert default == 30_000_000 - 21_000 - 2
    asked = {"to": burn, "gas": hex(200_000_000)}
    assert int(chain.request("eth_call", [asked]), 16) == 200_000_000 - 21_000 - 2


def test_a_call_with_a_fee_needs_the_coins(chain: EmbeddedChain) -> None:
    poor = "0x" + "77" * 20
    asked = {"from": poor, "to": chain.accounts[0], "gas": hex(21_000), "gasPrice": hex(10**10)}
    with pytest.raises(RpcError, match="insufficient funds"):
        chain.request("eth_call", [asked])
    asked.pop("gasPrice")
    assert chain.request("eth_call", [asked]) == "0x"
    with pytest.raises(RpcError, match="insufficient funds"):
        chain.request("eth_call", [asked | {"value": "0x1"}])


def test_overrides_replace_values_for_one_call(chain: EmbeddedChain) -> None:
    contract, target = deploy(chain, LOAD), "0x" + "99" * 20
    load = {"to": contract, "data": word(1)}
    assert chain.request("eth_call", [load, "latest", {contract: {"stateDiff": {word(1): word(5)}}}]) == word(5)
    code = chain.request("eth_getCode", [contract])
    moved = {target: {"code": code, "state": {word(2): word(6)}}}
    assert chain.request("eth_call", [{"to": target, "data": word(2)}, "latest", moved]) == word(6)
    chain.request("hardhat_setStorageAt", [contract, "0x3", word(8)])
    emptied: dict[str, Any] = {contract: {"state": {}}}
    assert chain.request("eth_call", [load | {"data": word(3)}, "latest", emptied]) == word(0)
    rich = {target: {"balance": hex(10**18)}}
    paid = {"from": target, "to": chain.accounts[0], "value": hex(10**18)}
    assert chain.request("eth_call", [paid, "latest", rich]) == "0x"
    assert chain.request("eth_call", [load, "latest"]) == word(0)


# Estimates


def just_enough(chain: EmbeddedChain, asked: dict[str, Any]) -> int:
    """The estimate, after checking that it is enough and that 0.1 % less is not."""
    estimate = int(chain.request("eth_estimateGas", [asked]), 16)
    chain.request("eth_call", [asked | {"gas": hex(estimate)}])
    with pytest.raises(RpcError):
        chain.request("eth_call", [asked | {"gas": hex(estimate - 1 - estimate // 1000)}])
    return estimate


def test_the_estimate_of_a_transfer(chain: EmbeddedChain) -> None:
    assert just_enough(chain, {"from": chain.accounts[0], "to": chain.accounts[1], "value": "0x1"}) == 21_000


def test_an_estimate_includes_what_will_be_refunded(chain: EmbeddedChain) -> None:
    contract = deploy(chain, STORE)
    send(chain, contract, word(0) + word(5)[2:])
    clear = {"from": chain.accounts[0], "to": contract, "data": word(0) + word(0)[2:]}
    estimate = just_enough(chain, clear)
    assert gas_of(send(chain, contract, clear["data"])) == estimate - 4_800


def test_an_estimate_includes_the_64th_that_each_call_retains(chain: EmbeddedChain) -> None:
    burn = "PUSH2 0x0fff @next PUSH1 0x01 SWAP1 SUB DUP1 :next JUMPI STOP"
    contract = deploy(chain, burn)
    for _ in range(5):
        contract = deploy(
            chain,
            f"PUSH0 PUSH0 PUSH0 PUSH0 PUSH20 {contract} GAS STATICCALL :ok JUMPI PUSH0 PUSH0 REVERT @ok STOP",
        )
    asked = {"from": chain.accounts[0], "to": contract}
    estimate = just_enough(chain, asked)
    used = gas_of(send(chain, contract, gas=hex(estimate)))
    assert estimate > used
    assert send(chain, contract, gas=hex(estimate))["status"] == "0x1"


@pytest.mark.parametrize("depth", [0, 1, 5])
def test_an_estimate_runs_a_message_four_times_and_not_once_for_each_bit(
    chain: EmbeddedChain, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    contract = deploy(chain, "PUSH1 0x01 TIMESTAMP SSTORE PUSH1 0x01 PUSH1 0x02 SSTORE")
    for _ in range(depth):
        contract = deploy(
            chain,
            f"PUSH1 0x01 PUSH1 0x03 SSTORE PUSH0 PUSH0 PUSH0 PUSH0 PUSH1 0x00 PUSH20 {contract} GAS CALL"
            " :ok JUMPI PUSH0 PUSH0 REVERT @ok STOP",
        )
    asked = {"from": chain.accounts[0], "to": contract}
    runs: list[int] = []

    def counted(*args: Any) -> Any:
        runs.append(args[2])
        return run(*args)

    run = execution.run
    monkeypatch.setattr(execution, "run", counted)
    estimate = chain.request("eth_estimateGas", [asked])
    assert len(runs) <= 5  # one of them a second later
    monkeypatch.setattr(execution, "run", lambda *args: replace(run(*args), gas_needed=0))
    assert chain.request("eth_estimateGas", [asked]) == estimate


def test_an_estimate_for_a_contract_that_reads_its_gas(chain: EmbeddedChain) -> None:
    contract = deploy(chain, "PUSH3 0x010000 GAS GT :ok JUMPI PUSH0 PUSH0 REVERT @ok STOP")
    assert just_enough(chain, {"to": contract}) > 21_000 + 0x10000


def test_an_estimate_of_a_creation(chain: EmbeddedChain) -> None:
    data = "0x" + "60005ff3".rjust(8, "0") + "00" * 100
    asked = {"from": chain.accounts[0], "data": data}
    estimate = just_enough(chain, asked)
    assert gas_of(send(chain, None, data, gas=hex(estimate))) == estimate


def test_an_estimate_that_cannot_be_paid_for(chain: EmbeddedChain) -> None:
    poor = "0x" + "77" * 20
    chain.request("hardhat_setBalance", [poor, hex(21_000 * 10**10 - 1)])
    with pytest.raises(RpcError, match=r"gas required exceeds allowance \(20999\)"):
        chain.request("eth_estimateGas", [{"from": poor, "to": poor, "gasPrice": hex(10**10)}])


def test_an_estimate_is_for_the_next_block(chain: EmbeddedChain) -> None:
    """After the clock is moved, calls that become possible can be estimated without mining a block first."""
    later = int(chain.request("eth_getBlockByNumber", ["latest"])["timestamp"], 16) + 1000
    contract = deploy(chain, f"TIMESTAMP PUSH5 0x{later:010x} GT :early JUMPI STOP @early PUSH0 PUSH0 REVERT")
    with pytest.raises(RpcError, match="execution reverted"):
        chain.request("eth_estimateGas", [{"to": contract}])
    chain.request("evm_increaseTime", [hex(1001)])
    assert int(chain.request("eth_estimateGas", [{"to": contract}, "latest"]), 16) > 21_000


# Traces


def test_the_steps_of_a_trace_add_up_to_the_gas(chain: EmbeddedChain) -> None:
    contract = deploy(chain, STORE)
    data = word(0) + word(5)[2:]
    receipt = send(chain, contract, data)
    trace = chain.request("debug_traceTransaction", [receipt["transactionHash"]])
    assert [step["op"] for step in trace["structLogs"]] == [
        "PUSH1",
        "CALLDATALOAD",
        "PUSH0",
        "CALLDATALOAD",
        "SSTORE",
        "STOP",
    ]
    assert [step["pc"] for step in trace["structLogs"]] == [0, 2, 3, 4, 5, 6]
    intrinsic = 21_000 + sum(16 if byte else 4 for byte in bytes.fromhex(data[2:]))
    assert intrinsic + sum(step["gasCost"] for step in trace["structLogs"]) == gas_of(receipt) == trace["gas"]
    store = trace["structLogs"][4]
    assert store["storage"] == {word(0)[2:]: word(5)[2:]}
    assert store["stack"] == ["0x5", "0x0"]
    assert trace["failed"] is False


def test_the_cost_of_a_call_includes_the_gas_it_passes_on(chain: EmbeddedChain) -> None:
    inner = deploy(chain, "PUSH0 SLOAD POP STOP")
    outer = deploy(chain, f"PUSH0 PUSH0 PUSH0 PUSH0 PUSH20 {inner} PUSH2 0xc350 STATICCALL POP STOP")
    trace = chain.request("debug_traceCall", [{"to": outer}, "latest", {"disableStack": True}])
    steps = trace["structLogs"]
    assert [step["depth"] for step in steps] == [1] * 7 + [2] * 4 + [1] * 2
    call = steps[6]
    assert call["gasCost"] == 2_600 + 50_000
    assert steps[7]["gas"] == 50_000
    assert "stack" not in call
    own = sum(step["gasCost"] for step in steps) - 50_000
    assert trace["gas"] == 21_000 + own


def test_a_trace_of_a_failure(chain: EmbeddedChain) -> None:
    receipt = send(chain, deploy(chain, REVERT), "0xff")
    trace = chain.request("debug_traceTransaction", [receipt["transactionHash"]])
    assert (trace["failed"], trace["returnValue"]) == (True, "0xff")
    lost = send(chain, deploy(chain, "PUSH0 INVALID"))
    trace = chain.request("debug_traceTransaction", [lost["transactionHash"]])
    assert trace["structLogs"][-1]["error"] == "invalid opcode"
    assert trace["gas"] == 1_000_000


def test_a_trace_replays_the_earlier_transactions_of_the_block(chain: EmbeddedChain) -> None:
    contract = deploy(chain, STORE)
    chain.request("evm_setAutomine", [False])
    sent = [
        chain.request(
            "eth_sendTransaction",
            [{"from": chain.accounts[0], "to": contract, "data": word(0) + word(value)[2:], "gas": hex(100_000)}],
        )
        for value in (5, 6)
    ]
    chain.request("evm_mine")
    send(chain, contract, word(0) + word(0)[2:])
    for transaction in sent:
        receipt = chain.request("eth_getTransactionReceipt", [transaction])
        assert chain.request("debug_traceTransaction", [transaction])["gas"] == gas_of(receipt)


def test_contracts_nested_as_deep_as_gas_allows(chain: EmbeddedChain) -> None:
    """A contract that calls itself with all its gas reaches a depth of a few hundred calls, and returns."""
    contract = deploy(
        chain,
        "PUSH0 PUSH0 PUSH0 PUSH0 ADDRESS GAS STATICCALL POP PUSH1 0x20 PUSH0 RETURN",
    )
    assert chain.request("eth_call", [{"to": contract, "gas": hex(10**10)}]) == word(0)
