# SPDX-License-Identifier: Apache-2.0
"""A chain in a directory: closed, killed and reopened."""

from __future__ import annotations

import itertools
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from serving_network.errors import ConfigurationError
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.store import FILE_NAME
from tests import zygote
from tests.localchain.programs import EMIT, STORE, deploy, send, topic, word

KILLS = 8
SENDER = "tests.localchain.sending:send_until_killed"


def everything(chain: EmbeddedChain) -> dict[str, Any]:
    """The complete state of a chain, as JSON-RPC shows it."""
    numbers = range(int(chain.request("eth_blockNumber"), 16) + 1)
    return {
        "blocks": [chain.request("eth_getBlockByNumber", [hex(number), True]) for number in numbers],
        "receipts": [chain.request("eth_getBlockReceipts", [hex(number)]) for number in numbers],
        "balances": [
            [chain.request("eth_getBalance", [account, hex(number)]) for account in chain.accounts]
            for number in numbers
        ],
        "logs": chain.request("eth_getLogs", [{"fromBlock": "0x0"}]),
    }


def test_everything_is_restored(tmp_path: Path) -> None:
    with EmbeddedChain(state=tmp_path) as chain:
        contract, emitter = deploy(chain, STORE), deploy(chain, EMIT)
        send(chain, contract, word(0) + word(5)[2:])
        send(chain, contract, word(0) + word(6)[2:], gasPrice=hex(10**10))
        send(chain, emitter, topic("Seen()") + "ff")
        send(chain, contract, "0x", gas=hex(21_001))
        stranger = "0x" + "77" * 20
        chain.request("hardhat_setBalance", [stranger, hex(10**18)])
        chain.request("hardhat_impersonateAccount", [stranger])
        chain.request("eth_sendTransaction", [{"from": stranger, "to": contract, "gas": hex(100_000)}])
        before = everything(chain)
    with EmbeddedChain(state=tmp_path) as chain:
        assert everything(chain) == before
        assert chain.request("eth_getStorageAt", [contract, "0x0", "0x3"]) == word(5)
        assert chain.request("eth_getStorageAt", [contract, "0x0"]) == word(0)
        trace = chain.request("debug_traceTransaction", [before["blocks"][3]["transactions"][0]["hash"]])
        assert hex(trace["gas"]) == before["receipts"][3][0]["gasUsed"]
        assert send(chain, contract, word(0) + word(7)[2:])["blockNumber"] == hex(len(before["blocks"]))


def test_the_clock_stays_ahead(tmp_path: Path) -> None:
    with EmbeddedChain(state=tmp_path) as chain:
        chain.request("evm_increaseTime", [hex(86_400)])
    with EmbeddedChain(state=tmp_path) as chain:
        chain.request("evm_mine")
        ahead = int(chain.request("eth_getBlockByNumber", ["latest"])["timestamp"], 16) - time.time()
        assert 86_390 < ahead < 86_410


def test_what_was_undone_stays_undone(tmp_path: Path) -> None:
    with EmbeddedChain(state=tmp_path) as chain:
        contract = deploy(chain, STORE)
        snapshot = chain.request("evm_snapshot")
        send(chain, contract, word(0) + word(5)[2:])
        chain.request("evm_revert", [snapshot])
        send(chain, contract, word(1) + word(6)[2:])
        before = everything(chain)
    with EmbeddedChain(state=tmp_path) as chain:
        assert everything(chain) == before
        assert chain.request("eth_getStorageAt", [contract, "0x0"]) == word(0)
        assert chain.request("eth_getStorageAt", [contract, "0x1"]) == word(6)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with EmbeddedChain(state=tmp_path), pytest.raises(ConfigurationError, match="in use by another process") as failure:
        EmbeddedChain(state=tmp_path)
    assert failure.value.next_step
    EmbeddedChain(state=tmp_path).close()


def test_another_chain_id_is_refused(tmp_path: Path) -> None:
    EmbeddedChain(state=tmp_path).close()
    with pytest.raises(ConfigurationError, match="contains another chain: chain id 31337"):
        EmbeddedChain(state=tmp_path, chain_id=5)
    EmbeddedChain(state=tmp_path).close()


def test_another_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(ConfigurationError, match="cannot be read as a chain"):
        EmbeddedChain(state=tmp_path)


def test_a_chain_killed_at_any_moment_is_complete(tmp_path: Path) -> None:
    """Everything that was confirmed before the kill is there afterwards, and nothing is incomplete."""
    seed = random.Random(20_261_122)
    sent = 0
    for _ in range(KILLS):
        with closing(zygote.Piped([], directory=tmp_path, function=SENDER)) as writer:
            writer.stdout.readline()
            time.sleep(seed.uniform(0, 0.15))
            writer.kill()
            sent += 1 + writer.stdout.read().count("sent")
        with EmbeddedChain(state=tmp_path) as chain:
            head = int(chain.request("eth_blockNumber"), 16)
            assert sent <= head <= sent + 1
            sent = head
            assert chain.request("eth_getBalance", ["0x" + "77" * 20]) == hex(head)
            assert chain.request("eth_getTransactionCount", [chain.accounts[0]]) == hex(head)
            blocks = [chain.request("eth_getBlockByNumber", [hex(number)]) for number in range(head + 1)]
            for parent, block in itertools.pairwise(blocks):
                assert block["parentHash"] == parent["hash"]
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
