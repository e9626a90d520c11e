# SPDX-License-Identifier: Apache-2.0
"""Requests that a gateway served, in the journal: taken once, in order, and paid like any other."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from serving_network.clients.settlements import Outcome
from serving_network.contracts.models import Status
from serving_network.errors import ServingError
from serving_network.messages.prices import Prices, hash_requests
from serving_network.messages.receipts import Ending, SignedReceipt, hash_receipts
from serving_network.messages.typed_data import UserSettlement
from serving_network.messages.usage import UsageRow
from serving_network.settlement.journal import open_journal, served
from serving_network.settlement.journal.records import Acceptance
from serving_network.settlement.runner import JournalOfGateway, Settlement
from serving_network.store.billing import Delivered, Kept, Terms
from serving_network.store.intake import Intake
from serving_network.store.location import Location
from serving_network.store.opening import Identity, JournalFailure
from serving_network.usage_logs.reader import UsageLog
from serving_network.wallet.local import LocalTeeSigner
from tests import zygote
from tests.settlement.fake_chain import CONTRACT, PROVIDER, TEE, FakeChain

IDENTITY = Identity(31337, "0x", CONTRACT, PROVIDER)
SIGNER = LocalTeeSigner(bytes(31) + b"\x07")
USERS = ["0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC", "0x90F79bf6EB2c4f870365E785982E1f101E93b906"]
VERSION_2 = Path(__file__).with_name("journal_version_2.sql").read_text()
VERSION_3 = Path(__file__).with_name("journal_version_3.sql").read_text()


def terms(number: int, user: str = USERS[0]) -> Terms:
    return Terms(sha256(b"%d" % number).digest(), user, 255, "model", 100, 200, sha256(b"request").digest())


def delivered(fee: int) -> Delivered:
    return Delivered(sha256(b"answer").digest(), 6, 1, 0, 2, fee // 2, fee - fee // 2)


async def serve(
    path: Location, rows: list[tuple[int, str, int]], signer: LocalTeeSigner = SIGNER
) -> list[SignedReceipt]:
    """Finish these requests (number, user, fee) all at once; returns their receipts."""
    intake = Intake(path, IDENTITY, signer)
    intake.open()
    try:
        found = await asyncio.gather(
            *(intake.finish(terms(number, user), delivered(fee), Ending.COMPLETE, 1) for number, user, fee in rows)
        )
        assert None not in found
        return [one for one in found if one is not None]
    finally:
        intake.close()


def test_rows_are_taken_once_and_in_the_order_of_their_receipts(location: Location) -> None:
    rows = [(number, USERS[number % 2], 10 * number) for number in range(40)]
    receipts = asyncio.run(serve(location, rows))
    for expected in (40, 0):
        with open_journal(location, IDENTITY) as journal:
            assert journal.take_served(Prices(1, 1)) == expected
            for user in journal.users():
                own = sorted(
                    (one.receipt for one in receipts if one.receipt.user == user.address), key=lambda one: one.sequence
                )
                assert [one.sequence for one in own] == list(range(1, 21))
                assert hash_requests(journal.charges(user)) == hash_receipts(own)
    more = asyncio.run(serve(location, [(40, USERS[0], 7)]))
    assert more[0].receipt.sequence == 21
    with open_journal(location, IDENTITY) as journal:
        assert journal.take_served(Prices(1, 1)) == 1


def test_a_served_request_that_a_log_recorded_already_is_not_taken(tmp_path: Path) -> None:
    """It would be charged once, but the gateway goes by both."""
    path = tmp_path / "j"
    asyncio.run(serve(path, [(1, USERS[0], 10)]))
    with closing(sqlite3.connect(path)) as connection:
        (served_id,) = connection.execute("SELECT id FROM served").fetchone()
    row = UsageRow(1, served_id, "0x" + served_id.hex(), USERS[0], USERS[0], 1_000_000, 0, 0, (5, 5))
    with open_journal(path, IDENTITY) as journal:
        journal.record([row], Prices(1, 1))
        with pytest.raises(JournalFailure) as caught:
            journal.take_served(Prices(1, 1))
    assert "a served request is in the queue already" in str(caught.value.cause)


def test_served_rows_are_taken_as_they_are_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "_ROWS_AT_ONCE", 2)
    path = tmp_path / "j"
    asyncio.run(serve(path, [(number, USERS[number % 2], 10 * number + 1) for number in range(5)]))
    with open_journal(path, IDENTITY) as journal:
        assert journal.has_served()
        assert journal.take_served(Prices(7, 9)) == 5
        fees = {user.address: [(one.input_fee, one.output_fee) for one in journal.charges(user)] for user in
                journal.users()}  # fmt: skip
    assert fees == {USERS[0]: [(0, 1), (10, 11), (20, 21)], USERS[1]: [(5, 6), (15, 16)]}
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT hash, spelling, time, input_tokens, output_tokens FROM request ORDER BY user_id, number"
        found = connection.execute(query).fetchall()
        taken = connection.execute("SELECT address, taken FROM account").fetchall()
    ids = {sha256(b"%d" % number).digest() for number in range(5)}
    assert {one[0] for one in found} == ids
    assert {one[1:] for one in found} == {(None, 1_000_000, 1, 2)}
    assert dict(taken) == {USERS[0]: "63", USERS[1]: "42"}


@pytest.mark.parametrize(
    ("read_at", "block", "paid", "left"),
    [
        (7, 6, 30, ("1000", 7)),
        (7, 7, 30, ("1000", 7)),
        (7, 8, 30, ("970", 8)),
        (7, 9, 1000, ("0", 9)),
        (7, 9, 1001, ("0", 9)),
        (0, 8, 30, ("970", 8)),
        (None, 8, 30, ("0", -1)),
    ],
)
def test_a_payment_lowers_only_a_balance_that_is_older(
    tmp_path: Path, read_at: int | None, block: int, paid: int, left: tuple[str, int]
) -> None:
    path = tmp_path / "j"

    async def prepare() -> None:
        intake = Intake(path, IDENTITY, SIGNER)
        intake.open()
        try:
            if read_at is not None:
                await intake.set_balance(USERS[0], 1000, 0, read_at)
            await intake.set_balance(USERS[1], 1000, 0, 7)
            for number, user in enumerate(USERS):
                await intake.finish(terms(number, user), delivered(2000), Ending.COMPLETE, 1)
        finally:
            intake.close()

    asyncio.run(prepare())
    with open_journal(path, IDENTITY) as journal:
        journal.take_served(Prices(1, 1))
        user = journal.user(USERS[0])
        assert user is not None
        acceptance = Acceptance(Outcome(Status.PARTIAL, paid), block, "0xbb", "0xaa")
        journal.adopt(user, UserSettlement(user.address, 2000, 1, bytes(32)), 1, acceptance)
    with closing(sqlite3.connect(path)) as connection:
        found = {
            address: rest for address, *rest in connection.execute("SELECT address, balance, block_number FROM account")
        }
    assert found == {USERS[0]: [*left], USERS[1]: ["1000", 7]}


def test_unsettled_is_the_same_before_and_after_a_run_takes_the_rows(location: Location) -> None:
    async def scenario() -> None:
        intake = Intake(location, IDENTITY, SIGNER)
        intake.open()
        try:
            await intake.set_balance(USERS[0], 1000, 100, 7)
            await intake.finish(terms(1), delivered(30), Ending.COMPLETE, 1)
            for _ in range(2):
                assert intake.unsettled(USERS[0]) == 30
                found = intake.funds(USERS[0])
                assert found is not None
                assert found.free == 870
                with open_journal(location, IDENTITY) as journal:
                    journal.take_served(Prices(1, 1))
            assert intake.unsettled(USERS[1]) == 0
            await intake.set_balance(USERS[0], 5, 0, 6)  # an older block
            assert intake.funds(USERS[0]) == found
        finally:
            intake.close()

    asyncio.run(scenario())


def test_no_row_is_there_twice_and_a_failed_job_undoes_no_other(location: Location) -> None:
    async def scenario() -> None:
        intake = Intake(location, IDENTITY, SIGNER)
        intake.open()
        try:
            results = await asyncio.gather(
                *(intake.finish(terms(number), delivered(1), Ending.COMPLETE, 1) for number in (1, 1, 2)),
                return_exceptions=True,
            )
            assert [isinstance(one, JournalFailure) for one in results] == [False, True, False]
            receipts = intake.receipts(USERS[0], 0, 10)
            assert [one.receipt.sequence for one in receipts] == [1, 2]
            for one in receipts:
                one.check(SIGNER.address)
        finally:
            intake.close()

    asyncio.run(scenario())


def test_kept_answers_end(location: Location) -> None:
    async def scenario() -> None:
        intake = Intake(location, IDENTITY, SIGNER)
        intake.open()
        try:
            kept = Kept("application/json", b"{}")
            await intake.finish(terms(1), delivered(1), Ending.COMPLETE, 1000, kept=kept)
            assert intake.kept(terms(1).id, 1599) == kept
            assert intake.kept(terms(1).id, 1600) is None
            await intake.finish(terms(2), delivered(1), Ending.COMPLETE, 1600)
            assert intake.kept(terms(1).id, 1000) is None
        finally:
            intake.close()

    asyncio.run(scenario())


def test_a_store_has_one_gateway(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving_network.store.intake.SHORT_WAIT", 0.0)
    first = Intake(location, IDENTITY, SIGNER)
    first.open()
    try:
        with pytest.raises(ServingError, match="Another gateway"):
            Intake(location, IDENTITY, SIGNER).open()
    finally:
        first.close()


def test_a_journal_of_version_2_becomes_a_store(tmp_path: Path) -> None:
    """Everything in it stays as it is, and a gateway can use it."""
    path = tmp_path / "j"
    tables = ("user", "price", "request", "own_fee", "other_tokens", "void", "known", "reading", "batch", "settlement")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_2)
    with pytest.raises(JournalFailure, match="usage log that are not settled"):
        asyncio.run(serve(path, []))
    for one in tmp_path.glob("j*"):
        one.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_2)
        connection.execute("UPDATE user SET paid = owed, open_from = requests, open_paid = '0'")
        connection.commit()
        before = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in (*tables, "sent")}
        meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    assert meta["schema"] == "2"
    assert before["settlement"]
    asyncio.run(serve(path, [(1000, USERS[0], 30)]))
    with closing(sqlite3.connect(path)) as connection:
        for name, rows in before.items():
            kept = [row[:-1] for row in rows] if name == "request" else rows  # version 5 drops its last column
            assert connection.execute(f"SELECT * FROM {name}").fetchall() == kept
        assert dict(connection.execute("SELECT key, value FROM meta").fetchall()) == meta | {"schema": "6"}
    with open_journal(path, IDENTITY) as journal:
        assert journal.take_served(Prices(1, 1)) == 1


def test_a_store_of_version_3_has_its_rows_taken_once(tmp_path: Path) -> None:
    """Five of its rows are taken, and three are not: one of one user, and two of another."""
    path = tmp_path / "j"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_3)
        billed = dict(connection.execute("SELECT address, billed FROM account").fetchall())
    with open_journal(path, IDENTITY) as journal:
        taken_before = {user.address: user.requests for user in journal.users()}
        assert journal.take_served(Prices(1, 1)) == 3
        taken = {user.address: user.requests - taken_before[user.address] for user in journal.users()}
        assert taken == {USERS[0]: 2, USERS[1]: 1}
        assert {user.address: str(user.billed) for user in journal.users()} == billed
    (more,) = asyncio.run(serve(path, [(9, USERS[1], 90)]))
    assert more.receipt.sequence == 5
    with open_journal(path, IDENTITY) as journal:
        assert journal.take_served(Prices(1, 1)) == 1


@pytest.mark.parametrize("old", ["journal_version_2.sql", "journal_version_3.sql", "journal_version_4.sql"])
def test_its_tables_are_those_of_a_new_store(tmp_path: Path, old: str) -> None:
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name"
    found: list[list[tuple[object, ...]]] = []
    with closing(sqlite3.connect(tmp_path / "old")) as connection:
        connection.executescript(Path(__file__).with_name(old).read_text())
    for name in ("old", "new"):
        with open_journal(tmp_path / name, IDENTITY), closing(sqlite3.connect(tmp_path / name)) as connection:
            tables = [
                (*row, re.findall(r"\w+|\S", re.sub("--.*", "", sql)))
                for *row, sql in connection.execute(query).fetchall()
            ]
            found.append(tables + connection.execute("SELECT key FROM meta ORDER BY key").fetchall())
    assert found[0] == found[1]


def test_a_run_settles_what_was_served_and_takes_no_log_beside_it(location: Location, tmp_path: Path) -> None:
    asyncio.run(serve(location, [(number, USERS[0], 10) for number in range(3)]))
    chain = FakeChain()
    chain.fund(USERS[0], 100)
    with open_journal(location, IDENTITY) as journal:
        report = asyncio.run(Settlement(chain, journal, TEE).run(None))
        assert (report.new_requests, report.paid) == (3, 30)
        log = tmp_path / "usage.jsonl"
        log.write_text("")
        with pytest.raises(JournalOfGateway) as caught:
            asyncio.run(Settlement(chain, journal, TEE).run(UsageLog(log, provider=PROVIDER)))
    assert "--journal" in str(caught.value.next_step)


def test_the_list_names_what_is_served_and_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "j"
    asyncio.run(serve(path, [(1, USERS[0], 10)]))
    with closing(zygote.Piped(("settlement", "list", "--journal", str(path)))) as process:
        _, totals = process.communicate(60)
    assert "Nothing is open" not in totals
    assert "Served by the gateway and not recorded yet: 10 wei." in totals
