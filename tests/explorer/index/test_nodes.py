# SPDX-License-Identifier: Apache-2.0
"""Nodes with limits, nodes without old states, and contracts of strangers: none of them stops the index."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from serving_network.chain.reading import AsyncReader
from serving_network.contracts import load
from serving_network.errors import RpcError
from serving_network.explorer.index.opening import IndexFailure, Subject, reading, writing
from serving_network.files import RunInProgress
from serving_network.localchain import EmbeddedChain
from tests.explorer.index.histories import COIN, History, Node, Town, advance, differences, prepared, read_all

EMITTER = "60603603806060" + "5f37" + "604035" + "602035" + "5f35" + "835fa300"
"""Logs what it is called with: three topics, then data."""


class Limited:
    """A node with limits."""

    def __init__(self, chain: EmbeddedChain, *, blocks: int = 10**6, logs: int = 10**6, states: int = 10**6) -> None:
        self._chain = chain
        self._blocks = blocks
        self._logs = logs
        self._states = states
        self.asked: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def request(self, method: str, params: list[Any]) -> Any:
        self.asked[method] += 1
        head = int(self._chain.request("eth_blockNumber", []), 16)
        if method == "eth_getLogs" and int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) >= self._blocks:
            self.refused[method] += 1
            raise RpcError(-32000, f"exceed maximum block range: {self._blocks}")
        if method in ("eth_call", "eth_getCode") and params[1] != "latest" and int(params[1], 16) < head - self._states:
            self.refused[method] += 1
            raise RpcError(-32000, "missing trie node")
        answer = self._chain.request(method, params)
        if method == "eth_getLogs" and len(answer) > self._logs:
            self.refused[method] += 1
            raise RpcError(-32005, f"query returned more than {self._logs} results")
        return answer


def test_limits_of_ranges_and_results_are_kept_and_learned(town: Town, tmp_path: Path) -> None:
    prepared(History(town, random.Random(1)))
    town.chain.request("hardhat_mine", ["0x400"])
    node = Limited(town.chain, blocks=20, logs=30)
    assert asyncio.run(read_all(node, tmp_path / "limited")).agrees
    assert asyncio.run(read_all(town.chain, tmp_path / "free")).agrees
    assert list(differences(tmp_path / "limited", tmp_path / "free")) == []
    assert node.refused["eth_getLogs"] < node.asked["eth_getLogs"] / 3


def test_a_node_without_old_states_is_asked_about_a_later_block_and_the_index_says_so(
    town: Town, tmp_path: Path
) -> None:
    prepared(History(town, random.Random(1)))
    through_a_contract = town.puppet
    town.send(through_a_contract, town.ledger, "addLedger", "of a contract", value=5 * COIN)
    town.chain.request("hardhat_mine", ["0x100"])
    node = Limited(town.chain, states=100)
    assert asyncio.run(read_all(node, tmp_path / "pruned")).agrees
    assert asyncio.run(read_all(town.chain, tmp_path / "archive")).agrees
    assert node.refused["eth_call"] <= 3
    pruned, archive = (_read_at(tmp_path / name) for name in ("pruned", "archive"))
    assert pruned.keys() == archive.keys()
    assert archive
    assert all(at in (block, block - 1) for block, at in archive.values())  # a confirmation keeps what was read
    assert all(at > block for block, at in pruned.values())


def _read_at(path: Path) -> dict[tuple[str, ...], tuple[int, int]]:
    """The blocks of what was read, and at which block it was read."""
    with reading(path) as index:
        rows = [
            *index.rows("SELECT contract, name, since, read_at FROM setting WHERE read_at IS NOT NULL"),
            *index.rows(
                "SELECT service, provider, since, read_at FROM offer WHERE read_at IS NOT NULL AND until IS NULL"
            ),
        ]
    return {tuple(row[:2]): (row[2] >> 20, row[3]) for row in rows}


def test_events_of_strangers_do_not_stop_the_index(town: Town, tmp_path: Path) -> None:
    history = History(town, random.Random(1))
    prepared(history)
    foreign = town.foreign[1]
    town.send(town.owner, town.ledger, "registerService", "inference", "strange", foreign, "")
    town.chain.request("hardhat_setCode", [foreign, "0x" + EMITTER])
    user, provider = town.users[0], town.providers[0]
    topic = load("InferenceServing").interface.topic
    fine_tuning = load("FineTuningServing").interface.topic

    def emit(first: bytes, data: bytes) -> None:
        words = b"".join([first, *(bytes.fromhex(one[2:]).rjust(32, b"\0") for one in (user, provider)), data])
        town.chain.request(
            "eth_sendTransaction", [{"from": town.owner, "to": foreign, "data": "0x" + words.hex(), "gas": hex(10**7)}]
        )

    most = b"\xff" * 32
    emit(topic("BalanceUpdated"), b"\x01")
    emit(topic("BalanceUpdated"), most + most)
    emit(topic("AccountDeleted"), bytes(32))
    emit(topic("AccountDeleted"), bytes(32))
    emit(fine_tuning("DeliverableAdded"), bytes(31) + b"\x60" + most + most)
    emit(topic("RefundRequested"), most)
    emit(topic("ProviderTEESignerAcknowledged"), bytes(31) + b"\x01")
    emit(topic("TEESettlementResult"), most)
    emit(topic("ProviderStaked"), most)
    for name in ("BatchSettled", "TEESettlementResult", "BatchRowSettled", "ProviderStaked", "BeaconUpgraded"):
        emitted = topic(name) if name != "BeaconUpgraded" else load("BeaconProxy").interface.topic(name)
        emit(emitted, most * 3)
    town.send(user, town.ledger, "depositFund", value=COIN)
    checked = asyncio.run(read_all(town.chain, tmp_path / "index"))
    assert checked.unanswered == ("inference-strange",)
    assert not [one for one in checked.differences if "strange" not in one.contract and one.contract != foreign]
    with reading(tmp_path / "index") as index:
        odd = {one.what for one in index.oddities().entries}
        assert {one.contract for one in index.oddities().entries} == {foreign}
        assert index.tip().block == int(town.chain.request("eth_blockNumber", []), 16)
    assert "an event that cannot be decoded" in odd


def test_a_service_that_claims_an_account_book_and_tells_nothing_is_counted_by_the_ledger(
    town: Town, tmp_path: Path
) -> None:
    prepared(History(town, random.Random(1)))
    town.send(town.owner, town.ledger, "registerService", "inference", "quiet", town.foreign[1], "")
    user, provider = town.users[0], town.providers[0]
    town.send(user, town.ledger, "transferFund", provider, "inference-quiet", 8 * COIN)
    checked = asyncio.run(read_all(town.chain, tmp_path / "index"))
    assert checked.agrees, checked.differences
    assert checked.unanswered == ("inference-quiet",)
    assert {one.name: one.owed for one in checked.coins}["inference-quiet"] == 8 * COIN


def test_a_registration_that_a_reorganisation_removes_takes_its_history_along(town: Town, tmp_path: Path) -> None:
    chain = asyncio.run(AsyncReader.open(town.chain))
    history = History(town, random.Random(3))
    prepared(history)
    mark = town.chain.request("evm_snapshot", [])
    names = set(town.names.values())
    while set(town.names.values()) == names:
        history._new_version()
    asyncio.run(advance(chain, tmp_path / "followed"))
    with reading(tmp_path / "followed") as index:
        assert len(index.versions()) == 3
    town.chain.request("evm_revert", [mark])
    history.deposit()
    asyncio.run(advance(chain, tmp_path / "followed"))
    asyncio.run(advance(chain, tmp_path / "once"))
    assert list(differences(tmp_path / "followed", tmp_path / "once")) == []
    with reading(tmp_path / "followed") as index:
        assert len(index.versions()) == 2
        assert index.tip().reorganisations == 1


def test_an_index_belongs_to_one_network_and_one_writer(tmp_path: Path) -> None:
    path, subject = tmp_path / "index", Subject(1, "0xaa", "0x01")
    with writing(path, subject), pytest.raises(RunInProgress), writing(path, subject):
        pass
    with pytest.raises(IndexFailure, match="belongs to another genesis"), writing(path, Subject(1, "0xbb", "0x01")):
        pass
    with pytest.raises(IndexFailure, match="There is no index"), reading(tmp_path / "other"):
        pass


def test_a_node_is_asked_little_when_nothing_happens(town: Town, tmp_path: Path) -> None:
    node = Node(town.chain)
    chain = asyncio.run(AsyncReader.open(node))
    asyncio.run(advance(chain, tmp_path / "index"))
    node.asked.clear()
    asyncio.run(advance(chain, tmp_path / "index"))
    assert node.asked == ["eth_getBlockByNumber"] * 3
