# SPDX-License-Identifier: Apache-2.0
"""Proofs of `eth_getProof`, checked from the block's hash upwards with nothing but keccak and RLP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import rlp
from eth.db.account import AccountDB
from eth.db.atomic import AtomicDB
from eth_typing import Address
from eth_utils import keccak

from serving_network.errors import RpcError
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.blocks import EMPTY_ROOT
from serving_network.localchain.proofs import MOST_SLOTS
from serving_network.localchain.roots import StateTrie
from serving_network.localchain.world import EMPTY_CODE_HASH, AccountState, Changes
from tests.localchain.programs import STORE, deploy, send, word

STRANGER = "0x" + "77" * 20


def proven(root: str, key: str, nodes: list[str]) -> bytes:
    """What a trie with this root has at the hash of `key`, b"" for nothing. Fails if the nodes do not prove it."""
    wanted: Any = bytes.fromhex(root[2:])
    path = keccak(bytes.fromhex(key[2:])).hex()
    left = [bytes.fromhex(node[2:]) for node in nodes]
    while wanted != b"":
        if isinstance(wanted, bytes):
            assert keccak(left[0]) == wanted, "a node is not the one that its parent names"
            wanted = rlp.decode(left.pop(0))
        if len(wanted) == 17:
            wanted, path = wanted[int(path[0], 16)], path[1:]
            continue
        flag, *rest = wanted[0].hex()
        part = "".join(rest if int(flag, 16) % 2 else rest[1:])
        if int(flag, 16) >= 2:
            assert not left
            return wanted[1] if part == path else b""
        if not path.startswith(part):
            break
        wanted, path = wanted[1], path[len(part) :]
    assert not left
    return b""


def check(chain: EmbeddedChain, address: str, slots: list[str], block: str = "latest") -> dict[str, Any]:
    """The answer of `eth_getProof`, checked against the state root of the block."""
    found: dict[str, Any] = chain.request("eth_getProof", [address, slots, block])
    root = chain.request("eth_getBlockByNumber", [block])["stateRoot"]
    leaf = proven(root, address, found["accountProof"]) if root != "0x" + EMPTY_ROOT.hex() else b""
    nonce, balance, storage, code = rlp.decode(leaf) if leaf else (b"", b"", EMPTY_ROOT, EMPTY_CODE_HASH)
    assert (int(found["nonce"], 16), int(found["balance"], 16)) == (int.from_bytes(nonce), int.from_bytes(balance))
    assert (found["storageHash"], found["codeHash"]) == ("0x" + storage.hex(), "0x" + code.hex())
    for slot, one in zip(slots, found["storageProof"], strict=True):
        stored = proven(found["storageHash"], slot, one["proof"]) if storage != EMPTY_ROOT else b""
        assert one["key"] == slot
        assert int(one["value"], 16) == (int.from_bytes(rlp.decode(stored)) if stored else 0)
    return found


def test_accounts_and_slots_are_proven_against_the_state_root_of_each_block() -> None:
    chain = EmbeddedChain(proofs=True)
    contract = deploy(chain, STORE)
    for slot in range(24):
        send(chain, contract, word(slot) + word(1000 + slot)[2:])
    before = chain.request("eth_blockNumber")
    send(chain, contract, word(3) + word(0)[2:])
    send(chain, contract, word(4) + word(7)[2:])
    slots = [word(slot) for slot in range(26)]
    now = check(chain, contract, slots)
    then = check(chain, contract, slots, before)
    for found, third, fourth in ((now, 0, 7), (then, 1003, 1004)):
        values = [int(one["value"], 16) for one in found["storageProof"]]
        assert values[:6] == [1000, 1001, 1002, third, fourth, 1005]
        assert values[23:] == [1023, 0, 0]
    assert now["codeHash"] == "0x" + keccak(bytes.fromhex(chain.request("eth_getCode", [contract])[2:])).hex()
    for account in [*chain.accounts, STRANGER]:
        for block in ("0x0", before, "latest"):
            found = check(chain, account, [word(0)], block)
            assert found["balance"] == chain.request("eth_getBalance", [account, block])
            assert found["nonce"] == chain.request("eth_getTransactionCount", [account, block])


def test_a_proof_of_another_value_does_not_pass() -> None:
    chain = EmbeddedChain(proofs=True)
    contract = deploy(chain, STORE)
    send(chain, contract, word(1) + word(5)[2:])
    found = chain.request("eth_getProof", [contract, [word(1)], "latest"])
    leaf = rlp.decode(bytes.fromhex(found["storageProof"][0]["proof"][-1][2:]))
    forged = "0x" + rlp.encode([leaf[0], rlp.encode(6)]).hex()
    with pytest.raises(AssertionError, match="not the one that its parent names"):
        proven(found["storageHash"], word(1), [forged])


def test_the_roots_are_those_of_py_evm() -> None:
    database = AccountDB(AtomicDB())
    changes = Changes()
    for number in range(1, 120):
        address = keccak(bytes([number]))[:20]
        changes.accounts[address] = AccountState(number, number * 10**17, EMPTY_CODE_HASH)
        database.set_nonce(Address(address), number)
        database.set_balance(Address(address), number * 10**17)
        for slot in range(number % 5):
            changes.slots[address, slot * number] = slot + number
            database.set_storage(Address(address), slot * number, slot + number)
    assert StateTrie().next(changes) == database.make_state_root()


def test_snapshots_developer_methods_and_a_restart_keep_the_trie(tmp_path: Path) -> None:
    with EmbeddedChain(proofs=True, state=tmp_path) as chain:
        contract = deploy(chain, STORE)
        snapshot = chain.request("evm_snapshot")
        send(chain, contract, word(1) + word(5)[2:])
        root = chain.request("eth_getBlockByNumber", ["latest"])["stateRoot"]
        twin = chain.copy()
        chain.request("evm_revert", [snapshot])
        assert check(chain, contract, [word(1)])["storageProof"][0]["value"] == "0x0"
        assert check(twin, contract, [word(1)])["storageProof"][0]["value"] == "0x5"
        chain.request("hardhat_setStorageAt", [contract, word(2), word(9)])
        assert check(chain, contract, [word(2)])["storageProof"][0]["value"] == "0x0", "the block is as it was mined"
        assert check(chain, contract, [word(2)], "pending")["storageProof"][0]["value"] == "0x9"
        send(chain, contract, word(1) + word(5)[2:])
        assert chain.request("eth_getBlockByNumber", ["latest"])["stateRoot"] != root
        before = check(chain, contract, [word(1), word(2)])
    with EmbeddedChain(proofs=True, state=tmp_path) as chain:
        assert check(chain, contract, [word(1), word(2)]) == before
        send(chain, contract, word(1) + word(0)[2:])
        assert [one["value"] for one in check(chain, contract, [word(1), word(2)])["storageProof"]] == ["0x0", "0x9"]


def refusal(chain: EmbeddedChain, *params: Any) -> str:
    with pytest.raises(RpcError) as failure:
        chain.request("eth_getProof", params)
    return str(failure.value.message)


def test_what_cannot_be_proven_is_refused_with_the_reason(tmp_path: Path) -> None:
    with EmbeddedChain(state=tmp_path) as chain:
        assert "serving up --proofs" in refusal(chain, STRANGER, [], "latest")
    with EmbeddedChain(proofs=True, state=tmp_path) as chain:
        assert "block 0 was mined without --proofs" in refusal(chain, STRANGER, [], "latest")
        chain.request("evm_mine")
        check(chain, chain.accounts[0], [])
        assert f"at most {MOST_SLOTS}" in refusal(chain, STRANGER, [word(0)] * (MOST_SLOTS + 1), "latest")
        assert "must be a list" in refusal(chain, STRANGER, word(0), "latest")
        assert "header not found" in refusal(chain, STRANGER, [], "0x99")
    with pytest.raises(ValueError, match="origin"):
        EmbeddedChain(proofs=True, origin=chain._chain.world)
