# SPDX-License-Identifier: Apache-2.0
"""What users change without an event, acknowledgements and penalty flags, is read at the account's next event."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from serving_network.chain.reading import AsyncReader
from serving_network.errors import RpcError
from serving_network.explorer.index.account_words import penalty_flag
from serving_network.explorer.index.opening import reading
from serving_network.messages.tee_signing import typed_digest
from serving_network.messages.typed_data import TEESettlementBatch, UserSettlement, VerifierMessage
from tests.explorer.index.histories import _OFFER, COIN, TEES, Town, advance, misread, read_all


@pytest.fixture
def served(town: Town) -> Town:
    """A user with an account in each service, and their provider with confirmed signers."""
    user, provider = town.users[0], town.providers[0]
    job = ("https://t", (1, 2, 3, 4, "H100"), 5, False, ["a"], TEES[0].address)
    town.send(user, town.ledger, "depositFund", value=20 * COIN)
    town.send(provider, town.inference, "addOrUpdateService", _OFFER, value=100 * COIN)
    town.send(provider, town.fine_tuning, "addOrUpdateService", *job, value=100 * COIN)
    for service, name in ((town.inference, "inference-v1.0"), (town.fine_tuning, "fine-tuning-v1.1")):
        town.send(town.owner, service, "acknowledgeTEESignerByOwner", provider)
        town.send(user, town.ledger, "transferFund", provider, name, COIN)
    return town


def settle(town: Town, fee: int, nonce: int) -> None:
    row = UserSettlement(town.users[0], fee, nonce, bytes(32))
    signed = TEESettlementBatch(town.providers[0], [row])
    signature = TEES[0]._sign_digest(typed_digest(signed, 31337, town.inference))
    packed = [(int(row.user, 16) << 96 | fee, nonce, row.requests_hash)]
    town.send(town.providers[0], town.inference, "settleBatchWithTEE", packed, signature)


def acknowledge(town: Town, service: str, acknowledged: bool) -> None:
    town.send(town.users[0], service, "acknowledgeTEESigner", town.providers[0], acknowledged)


def penalise(town: Town, id_: str, nonce: int) -> None:
    user, provider = town.users[0], town.providers[0]
    town.send(provider, town.fine_tuning, "addDeliverable", user, id_, b"root")
    signature = TEES[0]._sign_digest(
        typed_digest(VerifierMessage(id_, b"", b"root", nonce, 8, user), 31337, town.fine_tuning)
    )
    town.send(provider, town.fine_tuning, "settleFees", (id_, b"", b"root", nonce, signature, 8, user))


def flags(index: Path, service: str) -> list[tuple[bool, bool, int | None]]:
    """Acknowledgement, penalty flag and the block as of which they were read after the event, by version."""
    with reading(index) as found:
        rows = found.rows(
            "SELECT acknowledged, penalised, read_at, since FROM account WHERE service = ? ORDER BY since", service
        )
    return [(bool(one), bool(two), None if at is None else at - (since >> 20)) for one, two, at, since in rows]


def test_an_acknowledgement_is_read_where_the_account_is_empty_or_rejected(served: Town, tmp_path: Path) -> None:
    settle(served, COIN // 4, 1)
    settle(served, COIN, 2)  # paid in part: the account is empty
    acknowledge(served, served.inference, False)
    settle(served, COIN, 3)
    acknowledge(served, served.inference, True)
    settle(served, COIN, 2)  # a nonce that was used
    assert asyncio.run(read_all(served.chain, tmp_path / "index")).agrees
    assert flags(tmp_path / "index", served.inference) == [
        (True, False, None), (True, False, None), (True, False, 0), (False, False, 0), (True, False, 0),
    ]  # fmt: skip
    assert misread(served, tmp_path / "index") == []


def test_a_withdrawal_in_the_block_that_emptied_the_account_is_seen(served: Town, tmp_path: Path) -> None:
    served.chain.request("evm_setAutomine", [False])
    settle(served, COIN, 1)
    acknowledge(served, served.inference, False)
    served.chain.request("evm_mine", [])
    served.chain.request("evm_setAutomine", [True])
    assert asyncio.run(read_all(served.chain, tmp_path / "index")).compared["changed without an event"] == 0
    assert flags(tmp_path / "index", served.inference)[-1] == (False, False, 0)


def test_a_penalty_flag_is_read_from_storage(served: Town, tmp_path: Path) -> None:
    penalise(served, "first", 1)
    acknowledge(served, served.fine_tuning, True)
    town, provider = served, served.providers[0]
    town.send(provider, town.fine_tuning, "addDeliverable", town.users[0], "second", b"root")
    assert asyncio.run(read_all(town.chain, tmp_path / "index")).agrees
    penalised, cleared = flags(tmp_path / "index", town.fine_tuning)[-2:]
    assert penalised == (True, True, 0)
    assert cleared == (True, False, 0)
    assert misread(town, tmp_path / "index") == []


def test_a_node_that_shows_no_storage_leaves_the_flag_to_the_events(served: Town, tmp_path: Path) -> None:
    class Closed:
        def request(self, method: str, params: list[Any]) -> Any:
            if method == "eth_getStorageAt":
                raise RpcError(-32601, "the method eth_getStorageAt does not exist")
            return served.chain.request(method, params)

    penalise(served, "first", 1)
    assert asyncio.run(read_all(Closed(), tmp_path / "index")).agrees
    assert flags(tmp_path / "index", served.fine_tuning)[-1] == (True, True, 0)


def test_a_node_without_old_states_is_asked_for_the_newest_flags(served: Town, tmp_path: Path) -> None:
    class Pruned:
        def request(self, method: str, params: list[Any]) -> Any:
            head = int(served.chain.request("eth_blockNumber", []), 16)
            if method in ("eth_call", "eth_getStorageAt") and int(params[-1], 16) < head - 2:
                raise RpcError(-32000, "missing trie node")
            return served.chain.request(method, params)

    penalise(served, "first", 1)
    acknowledge(served, served.fine_tuning, True)
    served.chain.request("hardhat_mine", ["0x10"])
    chain = asyncio.run(AsyncReader.open(Pruned()))
    asyncio.run(advance(chain, tmp_path / "index"))
    acknowledged, penalised, later = flags(tmp_path / "index", served.fine_tuning)[-1]
    assert (acknowledged, penalised) == (True, False)
    assert later is not None
    assert later > 10


def test_a_word_that_is_not_the_accounts_tells_nothing() -> None:
    account = {"balance": 5, "pendingRefund": 0, "validRefundsLength": 0, "nonce": 7, "acknowledged": True}
    word = 1 << 255 | 7 << 191 | 1 << 186 | 5
    assert penalty_flag(word, account) is False
    assert penalty_flag(word | 1 << 184, account) is True
    for bit in (0, 92, 186, 187, 191, 255):
        assert penalty_flag(word ^ 1 << bit, account) is None
