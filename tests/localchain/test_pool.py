# SPDX-License-Identifier: Apache-2.0
"""Sending: accepted, pending, replaced and refused transactions."""

from __future__ import annotations

from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from serving_network.errors import RpcError
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.accounts import development_keys
from tests.localchain.programs import deploy, word

GWEI = 10**9


@pytest.fixture
def user() -> LocalAccount:
    account: LocalAccount = Account.from_key(development_keys()[2].to_bytes())
    return account


def signed(user: LocalAccount, nonce: int = 0, **fields: Any) -> str:
    transaction: dict[str, Any] = {
        "nonce": nonce,
        "to": "0x" + "77" * 20,
        "value": 1,
        "gas": 21_000,
        "chainId": 31337,
    } | fields
    if "gasPrice" not in transaction:
        transaction = {"maxFeePerGas": 10 * GWEI, "maxPriorityFeePerGas": GWEI} | transaction
    return "0x" + bytes(user.sign_transaction(transaction).raw_transaction).hex()


def send(chain: EmbeddedChain, raw: str) -> str:
    sent: str = chain.request("eth_sendRawTransaction", [raw])
    return sent


def refused(chain: EmbeddedChain, raw: str) -> str:
    with pytest.raises(RpcError) as refusal:
        send(chain, raw)
    assert refusal.value.code == -32000
    return refusal.value.message


def status(chain: EmbeddedChain, transaction: str) -> str | None:
    receipt = chain.request("eth_getTransactionReceipt", [transaction])
    return None if receipt is None else str(receipt["status"])


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("0x0", {"gasPrice": 10 * GWEI}),
        (
            "0x1",
            {
                "gasPrice": 10 * GWEI,
                "gas": 30_000,
                "accessList": [{"address": "0x" + "77" * 20, "storageKeys": [word(1)]}],
            },
        ),
        ("0x2", {}),
    ],
)
def test_every_type_of_transaction(chain: EmbeddedChain, user: LocalAccount, kind: str, fields: dict[str, Any]) -> None:
    raw = signed(user, **fields)
    sent = send(chain, raw)
    assert status(chain, sent) == "0x1"
    shown = chain.request("eth_getTransactionByHash", [sent])
    assert (shown["type"], shown["from"]) == (kind, user.address)
    assert chain.request("eth_getRawTransactionByHash", [sent]) == raw
    assert chain.request("eth_getTransactionReceipt", [sent])["type"] == kind


def test_a_legacy_transaction_without_a_chain_id(chain: EmbeddedChain, user: LocalAccount) -> None:
    transaction: dict[str, Any] = {"nonce": 0, "to": "0x" + "77" * 20, "value": 1, "gas": 21_000, "gasPrice": 10 * GWEI}
    sent = send(chain, "0x" + bytes(user.sign_transaction(transaction).raw_transaction).hex())
    assert status(chain, sent) == "0x1"
    assert "chainId" not in chain.request("eth_getTransactionByHash", [sent])


def test_what_can_never_be_mined_is_refused(chain: EmbeddedChain, user: LocalAccount) -> None:
    send(chain, signed(user))
    assert refused(chain, signed(user, value=2)) == "nonce too low: next nonce 1, tx nonce 0"
    assert "invalid chain id" in refused(chain, signed(user, 1, chainId=1))
    assert "intrinsic gas too low" in refused(chain, signed(user, 1, gas=20_999))
    assert refused(chain, signed(user, 1, gas=30_000_001)) == "exceeds block gas limit"
    assert "max priority fee per gas higher than max fee per gas" in refused(
        chain, signed(user, 1, maxPriorityFeePerGas=11 * GWEI)
    )
    assert "insufficient funds for gas * price + value" in refused(chain, signed(user, 1, value=10**24))


def test_a_broken_signature_is_refused(chain: EmbeddedChain, user: LocalAccount) -> None:
    raw = bytearray.fromhex(signed(user)[2:])
    high_s = bytes(raw[:-32]) + (2**256 - 1 - int.from_bytes(raw[-32:], "big")).to_bytes(32, "big")
    assert "invalid transaction v, r, s values" in refused(chain, "0x" + high_s.hex())
    assert "rlp" in refused(chain, "0x" + bytes(raw[:-1]).hex())
    assert "rlp" in refused(chain, "0x" + bytes(raw).hex() + "00")


def test_a_contract_cannot_send(chain: EmbeddedChain, user: LocalAccount) -> None:
    chain.request("hardhat_setCode", [user.address, "0x00"])
    assert "sender not an eoa" in refused(chain, signed(user))


def test_a_gap_in_the_nonces_waits_until_it_is_filled(chain: EmbeddedChain, user: LocalAccount) -> None:
    second = send(chain, signed(user, 1))
    assert status(chain, second) is None
    assert chain.request("eth_getTransactionCount", [user.address, "pending"]) == "0x0"
    assert chain.request("txpool_status") == {"pending": "0x0", "queued": "0x1"}
    first = send(chain, signed(user, 0))
    assert (status(chain, first), status(chain, second)) == ("0x1", "0x1")
    numbers = [chain.request("eth_getTransactionByHash", [sent])["blockNumber"] for sent in (first, second)]
    assert numbers == ["0x1", "0x2"]


def test_several_transactions_share_a_block_when_mining_is_manual(chain: EmbeddedChain, user: LocalAccount) -> None:
    chain.request("evm_setAutomine", [False])
    cheap = [send(chain, signed(user, nonce)) for nonce in range(3)]
    generous = chain.request(
        "eth_sendTransaction",
        [{"from": chain.accounts[0], "to": chain.accounts[1], "gas": hex(21_000), "gasPrice": hex(50 * GWEI)}],
    )
    assert refused(chain, signed(user, 0)) == "already known"
    assert chain.request("eth_getTransactionCount", [user.address, "pending"]) == "0x3"
    assert chain.request("eth_getTransactionCount", [user.address, "latest"]) == "0x0"
    assert chain.request("txpool_status") == {"pending": "0x4", "queued": "0x0"}
    assert chain.request("eth_getBlockByNumber", ["pending"])["transactions"] == [generous, *cheap]
    chain.request("evm_mine")
    block = chain.request("eth_getBlockByNumber", ["latest"])
    assert block["transactions"] == [generous, *cheap]
    receipts = chain.request("eth_getBlockReceipts", ["latest"])
    assert [int(receipt["cumulativeGasUsed"], 16) for receipt in receipts] == [21_000, 42_000, 63_000, 84_000]
    assert [receipt["transactionIndex"] for receipt in receipts] == ["0x0", "0x1", "0x2", "0x3"]


def test_a_block_never_exceeds_its_gas_limit(user: LocalAccount) -> None:
    chain = EmbeddedChain(gas_limit=50_000)
    chain.request("evm_setAutomine", [False])
    for nonce in range(3):
        send(chain, signed(user, nonce))
    chain.request("evm_mine")
    assert len(chain.request("eth_getBlockByNumber", ["latest"])["transactions"]) == 2
    chain.request("evm_mine")
    assert len(chain.request("eth_getBlockByNumber", ["latest"])["transactions"]) == 1


def test_a_replacement_needs_fees_ten_percent_higher(chain: EmbeddedChain, user: LocalAccount) -> None:
    chain.request("evm_setAutomine", [False])
    first = send(chain, signed(user, maxFeePerGas=10 * GWEI, maxPriorityFeePerGas=GWEI))
    too_little = signed(user, maxFeePerGas=11 * GWEI, maxPriorityFeePerGas=11 * GWEI // 10 - 1)
    assert refused(chain, too_little) == "replacement transaction underpriced"
    assert "underpriced" in refused(chain, signed(user, maxFeePerGas=11 * GWEI - 1, maxPriorityFeePerGas=2 * GWEI))
    second = send(chain, signed(user, maxFeePerGas=11 * GWEI, maxPriorityFeePerGas=11 * GWEI // 10))
    assert chain.request("eth_getTransactionByHash", [first]) is None
    chain.request("evm_mine")
    assert (status(chain, first), status(chain, second)) == (None, "0x1")


def test_a_transaction_below_the_base_fee_is_stuck_until_it_is_replaced(
    chain: EmbeddedChain, user: LocalAccount
) -> None:
    chain.request("hardhat_setNextBlockBaseFeePerGas", [hex(20 * GWEI)])
    stuck = send(chain, signed(user))
    assert status(chain, stuck) is None
    assert chain.request("txpool_content")["queued"][user.address]["0"]["hash"] == stuck
    mined = send(chain, signed(user, maxFeePerGas=40 * GWEI, maxPriorityFeePerGas=2 * GWEI))
    assert status(chain, mined) == "0x1"
    assert "nonce too low" in refused(chain, signed(user))


def test_a_pending_transaction_can_be_dropped(chain: EmbeddedChain, user: LocalAccount) -> None:
    chain.request("evm_setAutomine", [False])
    sent = send(chain, signed(user))
    assert chain.request("hardhat_dropTransaction", [sent]) is True
    assert chain.request("hardhat_dropTransaction", [sent]) is False
    assert chain.request("eth_getTransactionByHash", [sent]) is None
    chain.request("evm_setAutomine", [True])
    assert status(chain, sent) is None
    assert status(chain, send(chain, signed(user))) == "0x1"


def test_turning_automine_on_mines_the_pool(chain: EmbeddedChain, user: LocalAccount) -> None:
    chain.request("evm_setAutomine", [False])
    sent = send(chain, signed(user))
    chain.request("evm_setAutomine", [True])
    assert status(chain, sent) == "0x1"


def test_only_accounts_of_the_node_send_unsigned_transactions(chain: EmbeddedChain) -> None:
    stranger = "0x" + "77" * 20
    asked = {"from": stranger, "to": chain.accounts[0], "value": "0x1"}
    chain.request("hardhat_setBalance", [stranger, hex(10**18)])
    with pytest.raises(RpcError, match="unknown account"):
        chain.request("eth_sendTransaction", [asked])
    chain.request("hardhat_impersonateAccount", [stranger])
    sent = chain.request("eth_sendTransaction", [asked])
    assert status(chain, sent) == "0x1"
    assert chain.request("eth_getTransactionByHash", [sent])["from"] == stranger
    chain.request("hardhat_stopImpersonatingAccount", [stranger])
    with pytest.raises(RpcError, match="unknown account"):
        chain.request("eth_sendTransaction", [asked])


def test_a_contract_can_be_impersonated(chain: EmbeddedChain) -> None:
    contract = deploy(chain, "STOP")
    chain.request("anvil_impersonateAccount", [contract])
    chain.request("anvil_setBalance", [contract, hex(10**18)])
    sent = chain.request("eth_sendTransaction", [{"from": contract, "to": chain.accounts[0], "value": "0x5"}])
    assert status(chain, sent) == "0x1"


def test_state_values_can_be_set(chain: EmbeddedChain) -> None:
    who = "0x" + "77" * 20
    chain.request("anvil_setNonce", [who, "0x9"])
    chain.request("anvil_setCode", [who, "0x6000"])
    chain.request("anvil_setStorageAt", [who, "0x1", word(3)])
    assert chain.request("eth_getTransactionCount", [who]) == "0x9"
    assert chain.request("eth_getCode", [who]) == "0x6000"
    assert chain.request("eth_getStorageAt", [who, word(1)]) == word(3)
