# SPDX-License-Identifier: Apache-2.0
"""The same transactions on this chain and on anvil, if it is installed: gas and proofs must be equal."""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from serving_network.localchain import EmbeddedChain
from serving_network.localchain.accounts import MNEMONIC
from tests.localchain.programs import STORE, STORE_OR_LOAD, assemble, creation, word

PROGRAMS = 120
START_SECONDS = 600
Ask = Callable[[str, list[Any]], Any]

anvil = shutil.which("anvil")
pytestmark = pytest.mark.skipif(anvil is None, reason="anvil is not installed")

STEP_NAMES = """
    ADD MUL SUB DIV SDIV MOD SMOD ADDMOD MULMOD EXP SIGNEXTEND LT GT SLT SGT EQ ISZERO AND OR XOR NOT BYTE SHL SHR SAR
    SHA3 ADDRESS BALANCE ORIGIN CALLER CALLVALUE CALLDATALOAD CALLDATASIZE CODESIZE EXTCODESIZE EXTCODEHASH
    RETURNDATASIZE NUMBER CHAINID SELFBALANCE POP MLOAD MSTORE MSTORE8 SLOAD SSTORE PC MSIZE GAS TLOAD TSTORE MCOPY
    DUP1 DUP2 DUP3 SWAP1 SWAP2 LOG0 LOG1 LOG2 CALLDATACOPY CODECOPY CALL STATICCALL DELEGATECALL CREATE CREATE2
"""
STEPS = STEP_NAMES.split()


@pytest.fixture(scope="module")
def other() -> Iterator[Ask]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(anvil), "--port", str(port), "--hardfork", "cancun", "--silent", "--mnemonic", MNEMONIC]
    process = subprocess.Popen([*command, "--balance", "1000000"])

    def ask(method: str, params: list[Any]) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.loads(answer.read()).get("result")

    try:
        for _ in range(START_SECONDS * 10):
            try:
                ask("eth_chainId", [])
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        yield ask
    finally:
        process.terminate()
        process.wait()


def receipt(ask: Ask, sent: dict[str, Any]) -> dict[str, Any]:
    transaction = ask("eth_sendTransaction", [sent])
    for _ in range(60_000):
        found: dict[str, Any] | None = ask("eth_getTransactionReceipt", [transaction])
        if found is not None:
            return found
        time.sleep(0.01)
    raise TimeoutError(transaction)


def outcome(ask: Ask, sent: dict[str, Any]) -> tuple[Any, ...]:
    got = receipt(ask, sent)
    logs = [(log["address"].lower(), log["topics"], log["data"]) for log in got["logs"]]
    return got["status"], got["gasUsed"], logs, str(got["contractAddress"]).lower()


def random_program(source: random.Random, callee: str) -> str:
    words: list[str] = []
    for _ in range(source.randrange(5, 60)):
        kind = source.random()
        if kind < 0.45:
            words.append(f"PUSH1 0x{source.choice([0, 0, 1, 2, 32, 64, source.randrange(256)]):02x}")
        elif kind < 0.5:
            words.append(f"PUSH32 0x{source.getrandbits(256):064x}")
        elif kind < 0.55:
            words.append(f"PUSH20 {callee}")
        elif kind < 0.6:
            gas = source.choice(["GAS", "PUSH2 0xffff"])
            step = source.choice(["STATICCALL", "DELEGATECALL", "PUSH0 SWAP1 CALL"])
            words.append(f"PUSH1 0x20 PUSH0 PUSH1 0x{source.choice([32, 64]):02x} PUSH0 PUSH20 {callee} {gas} {step}")
        else:
            words.append(source.choice(STEPS))
    return " ".join(words) + " PUSH1 0x40 PUSH0 RETURN"


def test_random_transactions(chain: EmbeddedChain, other: Ask) -> None:
    source = random.Random(31337)
    sender = chain.accounts[0]
    ours: Ask = chain.request
    store = {"from": sender, "data": "0x" + creation(assemble(STORE_OR_LOAD)).hex(), "gas": hex(1_000_000)}
    assert outcome(ours, store) == outcome(other, store)
    callee = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
    successes = 0
    for number in range(PROGRAMS):
        program = random_program(source, callee)
        create = {"from": sender, "data": "0x" + creation(assemble(program)).hex(), "gas": hex(5_000_000)}
        made = outcome(ours, create)
        assert made == outcome(other, create), program
        for data in (word(1) + word(source.randrange(3))[2:], "0x", word(0)):
            call = {"from": sender, "to": made[3], "data": data, "gas": hex(source.choice([60_000, 500_000]))}
            call["value"] = hex(source.randrange(2))
            result = outcome(ours, call)
            assert result == outcome(other, call), f"{number}: {program}"
            successes += result[0] == "0x1"
    assert successes > PROGRAMS // 4


def test_proofs_of_storage(other: Ask) -> None:
    """Slots that were never set to zero: anvil keeps a zero in its trie, where Ethereum has nothing."""
    chain = EmbeddedChain(proofs=True)
    slots = [word(slot**3) for slot in range(40)]
    answers = []
    for ask in (chain.request, other):
        creator = {"from": chain.accounts[1], "gas": hex(1_000_000)}
        contract = receipt(ask, creator | {"data": "0x" + creation(assemble(STORE)).hex()})["contractAddress"]
        for number, slot in enumerate(slots[:-2]):
            outcome(ask, creator | {"to": contract, "data": slot + word(256 ** (number % 32) + 1)[2:]})
        found = ask("eth_getProof", [contract, slots, "latest"])
        answers.append({name: found[name] for name in ("nonce", "codeHash", "storageHash", "storageProof")})
    assert answers[0] == answers[1]
