# SPDX-License-Identifier: Apache-2.0
"""The rows of requests, value by value: what a stream began with, what was delivered of it, and what is billed."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from serving_network.messages.answer_signatures import answer_text, text_digest
from serving_network.messages.receipts import Ending, Source
from serving_network.signing import signed_by
from serving_network.store import billing
from serving_network.store.billing import Balance, Begun, Biller, Checkpoint, Delivered, Finished, Kept, Terms
from serving_network.store.database import Database
from serving_network.store.opening import connected
from tests.settlement.test_served import IDENTITY, SIGNER, USERS

EMPTY = sha256(b"").digest()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with connected(tmp_path / "j", IDENTITY) as db:
        db.begin()
        yield db
        db.rollback()


def hash_of(text: str) -> bytes:
    return sha256(text.encode()).digest()


def terms(name: str, user: str = USERS[0]) -> Terms:
    return Terms(hash_of(name), user, 3, f"model of {name}", 100, 200, hash_of(f"request of {name}"))


def finished(name: str, time: int = 50, **given: Any) -> Finished:
    return Finished(terms(name), Delivered(), Ending.COMPLETE, time, **given)


def rows(db: Database, table: str) -> list[dict[str, Any]]:
    (columns,) = zip(*((one[1],) for one in db.execute(f"PRAGMA table_info({table})").fetchall()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in db.execute(f"SELECT * FROM {table}").fetchall()]


@pytest.mark.parametrize("images", [(), (hash_of("one"), hash_of("two"))])
def test_a_served_row_has_every_value_of_its_request(db: Database, images: tuple[bytes, ...]) -> None:
    billing.begin(db, [Begun(terms("a"), "", 1)])
    delivery = Delivered(hash_of("answer"), 77, 11, 4, 5, 700, 1000, Source.DELTAS, images)
    (first,) = Biller(IDENTITY, SIGNER).bill(db, [finished("before")])
    (signed,) = Biller(IDENTITY, SIGNER).bill(
        db, [Finished(terms("a"), delivery, Ending.CUT_BY_CLIENT, 50, "chatcmpl-1")]
    )
    signed.check(SIGNER.address)
    row = rows(db, "served")[1]
    salt, signature = row.pop("salt"), row.pop("answer_signature")
    assert row == {
        "number": 2, "id": hash_of("a"), "address": USERS[0], "sequence": 2, "billed_before": "0", "token_id": 3,
        "model": "model of a", "input_fee": "700", "output_fee": "1000", "input_price": "100", "output_price": "200",
        "input_tokens": 11, "cached_tokens": 4, "output_tokens": 5, "source": 1, "ending": 1, "time": 50,
        "request_hash": hash_of("request of a"), "answer_hash": hash_of("answer"), "length": 77,
        "upstream_id": "chatcmpl-1", "signer": SIGNER.address, "receipt_signature": signed.signature,
        "images": b"".join(images),
    }  # fmt: skip
    assert (len(salt), signed.disclosure and signed.disclosure.salt) == (32, salt)
    assert first.disclosure is not None
    assert first.disclosure.salt != salt
    text = answer_text(hash_of("request of a"), images or [hash_of("answer")])
    assert signed_by(SIGNER.address, text_digest(text), signature)
    (account,) = rows(db, "account")
    assert (account["requests"], account["billed"], account["taken"]) == (2, "1700", "0")
    assert (account["balance"], account["pending_refund"], account["block_number"]) == ("0", "0", -1)
    assert rows(db, "begun") == []


def test_a_request_of_which_nothing_is_said_costs_nothing_and_delivered_nothing(db: Database) -> None:
    assert (terms("a").reserved, terms("a").session) == (0, "")
    assert (finished("a").lowers, finished("a").begun) == (0, True)
    (signed,) = Biller(IDENTITY, SIGNER).bill(db, [finished("a")])
    receipt, disclosure = signed.receipt, signed.disclosure
    assert disclosure is not None
    assert (receipt.sequence, receipt.billed_before, receipt.input_fee, receipt.output_fee) == (1, 0, 0, 0)
    assert (receipt.input_tokens, receipt.cached_tokens, receipt.output_tokens) == (0, 0, 0)
    assert (receipt.source, disclosure.answer_hash, disclosure.length) == (Source.USAGE, EMPTY, 0)


def test_each_request_of_a_user_is_billed_after_the_one_before(db: Database) -> None:
    """In one call and in several, for each user alone."""
    biller = Biller(IDENTITY, SIGNER)

    def one(name: str, user: str, fee: int) -> Finished:
        return Finished(terms(name, user), Delivered(input_fee=1, output_fee=fee - 1), Ending.COMPLETE, 1)

    billing.set_balances(db, [Balance(USERS[1], 5, 0, 1, 0)])
    made = biller.bill(db, [one("a", USERS[0], 10), one("b", USERS[1], 7), one("c", USERS[0], 20)])
    made += biller.bill(db, [one("d", USERS[0], 5), one("e", USERS[1], 3)])
    assert [(signed.receipt.sequence, signed.receipt.billed_before) for signed in made] == [
        (1, 0), (1, 0), (2, 10), (3, 30), (2, 7),
    ]  # fmt: skip
    billed = {row["address"]: (row["requests"], row["billed"]) for row in rows(db, "account")}
    assert billed == {USERS[0]: (3, "35"), USERS[1]: (2, "10")}


def test_what_a_crash_cuts_is_billed_by_its_checkpoint_oldest_first(db: Database) -> None:
    names = ["a", "b", "c", "d"]
    billing.begin(db, [Begun(terms(name), "other" if name == "d" else "mine", 9) for name in names])
    (begun,) = (row for row in rows(db, "begun") if row["id"] == hash_of("b"))
    assert begun == {
        "id": hash_of("b"), "address": USERS[0], "token_id": 3, "model": "model of b", "input_price": "100",
        "output_price": "200", "request_hash": hash_of("request of b"), "answer_hash": EMPTY, "length": 0,
        "input_tokens": 0, "cached_tokens": 0, "output_tokens": 0, "input_fee": "0", "output_fee": "0", "time": 9,
        "gateway": "mine",
    }  # fmt: skip
    delivery = Delivered(hash_of("answer"), 77, 11, 4, 5, 700, 1000, Source.DELTAS)
    billing.checkpoint(db, [Checkpoint(hash_of("b"), delivery, 12)])
    billing.checkpoint(db, [Checkpoint(hash_of("a"), Delivered(input_fee=1), 10)])
    billing.abandon(db, [hash_of("c")])
    biller = Biller(IDENTITY, SIGNER)
    assert biller.bill_cut(db, "mine") == 2
    older, newer = rows(db, "served")
    assert (older["id"], older["time"], older["input_fee"]) == (hash_of("a"), 10, "1")
    del newer["salt"], newer["receipt_signature"], newer["answer_signature"]
    assert newer == {
        "number": 2, "id": hash_of("b"), "address": USERS[0], "sequence": 2, "billed_before": "1", "token_id": 3,
        "model": "model of b", "input_fee": "700", "output_fee": "1000", "input_price": "100", "output_price": "200",
        "input_tokens": 11, "cached_tokens": 4, "output_tokens": 5, "source": int(Source.CHECKPOINT),
        "ending": int(Ending.CRASH), "time": 12, "request_hash": hash_of("request of b"),
        "answer_hash": hash_of("answer"), "length": 77, "upstream_id": None, "signer": SIGNER.address, "images": b"",
    }  # fmt: skip
    assert [row["id"] for row in rows(db, "begun")] == [hash_of("d")]
    assert (biller.bill_cut(db, "mine"), biller.bill_cut(db, "other")) == (0, 1)


def test_answers_are_kept_until_the_newest_request_is_ten_minutes_later(db: Database) -> None:
    biller = Biller(IDENTITY, SIGNER)
    biller.bill(db, [finished("a", 1000, kept=Kept("text/plain", b"A")), finished("b", 1001)])
    (number,) = db.execute("SELECT number FROM served WHERE id = ?", (hash_of("a"),)).fetchone()
    assert rows(db, "kept") == [{"number": number, "until": 1600, "content_type": "text/plain", "body": b"A"}]
    biller.bill(db, [finished("c", 1599, kept=Kept("text/plain", b"C"))])
    assert sorted(row["body"] for row in rows(db, "kept")) == [b"A", b"C"]
    biller.bill(db, [finished("d", 1600), finished("e", 1599)])
    assert [row["body"] for row in rows(db, "kept")] == [b"C"]


def test_the_balance_of_the_newest_block_counts(db: Database) -> None:
    billing.set_balances(db, [Balance(USERS[0], 10, 1, 7, 3), Balance(USERS[1], 20, 2, 7, 4)])
    billing.set_balances(db, [Balance(USERS[0], 30, 5, 6, 9), Balance(USERS[1], 40, 6, 7, 9)])
    found = [
        (row["address"], row["balance"], row["pending_refund"], row["nonce"], row["block_number"])
        for row in rows(db, "account")
    ]
    assert sorted(found) == [(USERS[0], "10", "1", f"{3:020}", 7), (USERS[1], "40", "6", f"{9:020}", 7)]
    assert {(row["requests"], row["billed"], row["taken"]) for row in rows(db, "account")} == {(0, "0", "0")}
