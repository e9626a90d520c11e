# SPDX-License-Identifier: Apache-2.0
"""A bill on disk: receipts are kept once, and conflicting ones both."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving_network.messages.receipts import InvalidReceipt
from serving_network.store.bills import BillUnusable, bills_in, check_storable, open_bill
from tests.clients.bills.making import CHAIN, CONTRACT, IDENTITY, PROVIDER, TEE, USER, changed, receipts, sign

OTHER = "0x" + "5" * 40


def test_receipts_are_kept_once(tmp_path: Path) -> None:
    made = receipts((1, 1), (2, 2), (3, 3))
    path = tmp_path / "bills" / IDENTITY.file_name
    with open_bill(path, IDENTITY) as bill:
        assert (bill.complete_to(), bill.receipts()) == (0, [])
        assert bill.add(iter([made[2], made[0]])) == 2
        assert bill.complete_to() == 1
        assert bill.add(made) == 1
        assert bill.add([sign(made[0].receipt, made[0].disclosure)]) == 0
    with open_bill(path, IDENTITY) as bill:
        assert bill.receipts() == made
        assert bill.complete_to() == 3
        other = changed(made[1], output_tokens=3, output_fee=600)
        assert bill.add([other]) == 1
        assert sorted(one.receipt.output_tokens for one in bill.receipts()) == [1, 2, 3, 3]
        assert bill.complete_to() == 3
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_trusted_signer(tmp_path: Path) -> None:
    with open_bill(tmp_path / "bill", IDENTITY) as bill:
        assert bill.signer() is None
        bill.trust(OTHER)
        bill.trust(TEE.address)
    with open_bill(tmp_path / "bill", IDENTITY) as bill:
        assert bill.signer() == TEE.address


@pytest.mark.parametrize(
    "changes",
    [{"chain_id": 1}, {"contract": OTHER}, {"provider": OTHER}, {"user": OTHER}],
    ids=lambda one: next(iter(one)),
)
def test_a_file_holds_one_bill(tmp_path: Path, changes: dict[str, Any]) -> None:
    (made,) = receipts((1, 1))
    other = replace(IDENTITY, **changes)
    assert IDENTITY.owns(made)
    assert not other.owns(made)
    with open_bill(tmp_path / "bill", IDENTITY):
        pass
    with pytest.raises(BillUnusable, match="cannot be used") as caught, open_bill(tmp_path / "bill", other):
        pass
    assert "another bill" in str(caught.value.cause)


def test_bills_are_found_by_their_files(tmp_path: Path) -> None:
    assert IDENTITY.file_name == f"{CHAIN}-{CONTRACT}-{USER}-{PROVIDER}.sqlite"
    own = {digit: replace(IDENTITY, provider="0x" + digit * 40) for digit in "519374"}
    for one in (*own.values(), replace(IDENTITY, user=OTHER), replace(IDENTITY, chain_id=CHAIN + 1)):
        (tmp_path / one.file_name).touch()
    assert bills_in(tmp_path, CHAIN, USER) == [(one, tmp_path / one.file_name) for _, one in sorted(own.items())]


MAX_SEQUENCE, MAX_TIME = 2**63 - 1, 253_402_128_000


def test_receipts_that_cannot_be_stored_or_shown_are_refused_with_all_others(tmp_path: Path) -> None:
    good, edge, early = receipts((1, 1), (2, 2), (3, 3))
    edge = changed(edge, sequence=MAX_SEQUENCE, time=MAX_TIME)
    with open_bill(tmp_path / "bill", IDENTITY) as bill:
        for changes in ({"sequence": MAX_SEQUENCE + 1}, {"time": MAX_TIME + 1}):
            wrong = changed(early, **changes)
            with pytest.raises(InvalidReceipt, match="impossible"):
                check_storable(wrong)
            with pytest.raises(InvalidReceipt, match="impossible"):
                bill.add([good, wrong])
        assert bill.receipts() == []
        assert bill.add([edge, good]) == 2
        assert bill.receipts() == [good, edge]


def test_conflicting_receipts_are_in_the_order_of_their_hashes(tmp_path: Path) -> None:
    made = [changed(receipts((1, 1))[0], output_fee=fee) for fee in range(8)]
    with open_bill(tmp_path / "bill", IDENTITY) as bill:
        bill.add(made)
        assert bill.receipts() == sorted(made, key=lambda one: one.receipt.struct_hash())


@pytest.mark.parametrize("content", ["no JSON", "{}"])
def test_a_damaged_receipt_makes_a_bill_unusable(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bill"
    with open_bill(path, IDENTITY) as bill:
        bill.add(receipts((1, 1)))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE receipt SET content = ?", (content,))
    with open_bill(path, IDENTITY) as bill, pytest.raises(BillUnusable, match="cannot be used") as caught:
        bill.receipts()
    assert caught.value.cause


def test_a_bill_of_another_version_or_without_a_place_is_unusable(tmp_path: Path) -> None:
    path = tmp_path / "bill"
    with open_bill(path, IDENTITY):
        pass
    with closing(sqlite3.connect(path)) as db, db:
        assert dict(db.execute("SELECT key, value FROM meta")) == {
            "version": "1", "chain_id": str(CHAIN), "contract": CONTRACT, "provider": PROVIDER, "user": USER,
        }  # fmt: skip
        db.execute("UPDATE meta SET value = '2' WHERE key = 'version'")
    for wrong in (path, path / "inside"):
        with pytest.raises(BillUnusable, match="cannot be used") as caught, open_bill(wrong, IDENTITY):
            pass
        assert caught.value.cause
        assert caught.value.next_step


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(b"this is no database" * 100)
    with pytest.raises(BillUnusable), open_bill(tmp_path / "damaged", IDENTITY):
        pass
