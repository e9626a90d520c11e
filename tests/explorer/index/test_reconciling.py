# SPDX-License-Identifier: Apache-2.0
"""The reconciliation finds every row that is not what the contracts answer."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from serving_network.chain.reading import AsyncReader
from serving_network.explorer.index.checked import checked_as_text, checked_from
from serving_network.explorer.index.opening import reading
from serving_network.explorer.index.reconciling import Behind, reconcile
from serving_network.testing import local_network
from tests.explorer.index.histories import COIN, History, Town, advance, prepared, read_all

TAMPERED = {
    "available of": "UPDATE ledger SET available = available || '0' WHERE until IS NULL",
    "additional information of": "UPDATE account SET info = 'x' WHERE until IS NULL",
    "balance of": "UPDATE account SET balance = '1' WHERE until IS NULL AND balance <> '0'",
    "pending refund of": "UPDATE account SET refunds = '[]' WHERE until IS NULL AND pending <> '0'",
    "refund 0 of": "UPDATE account SET refunds = replace(refunds, ' ', ' 1') WHERE until IS NULL AND pending <> '0'",
    "stored pending refund of": "UPDATE account SET pending = '1' WHERE until IS NULL",
    "nonce of": "UPDATE account SET nonce = '00000000000000000007' WHERE until IS NULL AND nonce IS NOT NULL",
    "account of": "DELETE FROM account WHERE until IS NULL",
    "ledger of": "UPDATE ledger SET until = NULL, user_address = lower(user_address) WHERE until IS NULL",
    "acknowledgement and penalty flag of": "UPDATE account SET acknowledged = 1 - acknowledged WHERE until IS NULL",
    "deliverable": "UPDATE deliverable SET state = 'penalised', root_hash = '0x' WHERE until IS NULL",
    "number of deliverables of": "DELETE FROM deliverable",
    "type and verifiability of": "UPDATE offer SET details = replace(details, 'TeeML', 'TeeTLS') WHERE until IS NULL",
    "quota and occupied of": "UPDATE offer SET details = replace(details, 'H100', 'B200') WHERE until IS NULL",
    "input price of": "UPDATE offer SET input_price = '123' WHERE until IS NULL",
    "TEE signer of": "UPDATE offer SET signer = provider WHERE until IS NULL",
    "confirmation of": "UPDATE offer SET confirmed = 1 - confirmed WHERE until IS NULL",
    "registration of": "DELETE FROM offer",
    "stake of": "UPDATE stake SET amount = '1'",
    "owner": "UPDATE setting SET value = contract WHERE name = 'owner' AND until IS NULL",
    "implementation": "UPDATE setting SET value = contract WHERE name = 'implementation' AND until IS NULL",
    "pending owner": "INSERT INTO setting SELECT contract, 'pending_owner', contract, since, NULL, NULL FROM setting"
    " WHERE name = 'owner' AND until IS NULL",
    "version": "UPDATE contract SET version = 'v9' WHERE role = 'service'",
    "recommendation": "DELETE FROM setting WHERE name LIKE 'recommended:%'",
    "sum of stakes": "UPDATE total SET amount = '7' WHERE name = 'stakes'",
    "sum of balances": "UPDATE total SET amount = '7' WHERE name = 'balances'",
    "sum of available": "DELETE FROM total WHERE name = 'available'",
    "money of": "UPDATE settlement SET paid = paid || '0' WHERE paid <> '0'",
    "sum of settlements by day": "UPDATE daily SET paid = '1'",
}


@pytest.fixture(scope="module")
def agreed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Town, AsyncReader, Path]]:
    """A network with a bit of everything, and an index that agrees with it."""
    with local_network() as network:
        town = Town(network)
        history = History(town, random.Random(4))
        prepared(history)
        for provider in town.providers[:2]:
            town.send(town.users[0], town.ledger, "retrieveFund", [provider], "inference-v1.0")
        for _ in range(30):
            history.settle()
        for provider in town.providers[:2]:
            town.send(provider, town.fine_tuning, "addDeliverable", town.users[0], "kept", b"root")
        index = tmp_path_factory.mktemp("index") / "index"
        assert asyncio.run(read_all(town.chain, index)).agrees
        yield town, asyncio.run(AsyncReader.open(town.chain)), index


@pytest.mark.parametrize("what", TAMPERED)
def test_a_row_that_is_tampered_with_is_found(
    agreed: tuple[Town, AsyncReader, Path], tmp_path: Path, what: str
) -> None:
    _, chain, original = agreed
    index = tmp_path / "index"
    shutil.copy(original, index)
    with closing(sqlite3.connect(index)) as db:
        assert db.execute(TAMPERED[what]).rowcount > 0
        db.commit()
    with reading(index) as found:
        checked = asyncio.run(reconcile(found, chain))
    assert not checked.agrees
    assert [one for one in checked.differences if one.what.startswith(what)], checked.differences
    assert checked_from(checked_as_text(checked)) == checked


def test_coins_that_were_forced_in_are_shown_and_missing_ones_are_a_failure(
    agreed: tuple[Town, AsyncReader, Path], tmp_path: Path
) -> None:
    town, _, _ = agreed
    held = int(town.chain.request("eth_getBalance", [town.inference, "latest"]), 16)
    with town.reset_afterwards():
        town.chain.request("hardhat_setBalance", [town.inference, hex(held + 5)])
        town.chain.request("evm_mine", [])
        checked = asyncio.run(read_all(town.chain, tmp_path / "more"))
        assert checked.agrees
        assert {one.name: one.surplus for one in checked.coins}["inference-v1.0"] == 5
        town.chain.request("hardhat_setBalance", [town.inference, hex(held - 1)])
        town.chain.request("evm_mine", [])
        checked = asyncio.run(read_all(town.chain, tmp_path / "less"))
        assert not checked.different
        assert not checked.agrees


def test_an_acknowledgement_that_was_withdrawn_silently_is_counted_and_no_difference(
    agreed: tuple[Town, AsyncReader, Path], tmp_path: Path
) -> None:
    town, _, _ = agreed
    user, provider = town.users[3], town.providers[0]
    with town.reset_afterwards():
        town.send(user, town.ledger, "transferFund", provider, "inference-v1.0", COIN)
        town.send(user, town.ledger, "retrieveFund", [provider], "inference-v1.0")
        town.chain.request("evm_increaseTime", [90_000])
        town.send(user, town.ledger, "retrieveFund", [provider], "inference-v1.0")
        before = asyncio.run(read_all(town.chain, tmp_path / "index"))
        town.send(user, town.inference, "acknowledgeTEESigner", provider, False)
        after = asyncio.run(read_all(town.chain, tmp_path / "index"))
    assert before.agrees
    assert after.agrees
    assert (before.compared["changed without an event"], after.compared["changed without an event"]) == (0, 1)


def test_a_chain_without_the_last_block_of_the_index_is_not_compared(
    agreed: tuple[Town, AsyncReader, Path], tmp_path: Path
) -> None:
    town, chain, _ = agreed
    with town.reset_afterwards():
        town.send(town.users[0], town.ledger, "depositFund", value=COIN)
        asyncio.run(advance(chain, tmp_path / "index"))
    with reading(tmp_path / "index") as index, pytest.raises(Behind):
        asyncio.run(reconcile(index, chain))


def test_what_was_compared_has_settlements_of_each_kind(agreed: tuple[Town, AsyncReader, Path]) -> None:
    _, _, index = agreed
    with reading(index) as found:
        forms = set(found.rows("SELECT DISTINCT form, through_contract FROM settlement WHERE status <= 1"))
        refused = found.rows("SELECT count(*) FROM settlement WHERE status > 1")[0][0]
        known = found.rows("SELECT count(*) FROM settlement WHERE fee IS NULL AND through_contract = 0")[0][0]
    assert forms >= {("batch", 0), ("batch", 1), ("entry", 1)}
    assert refused > 0
    assert known == 0
