# SPDX-License-Identifier: Apache-2.0
"""A journal of version 1 becomes one of today: everything in it survives, or nothing is touched."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.clients.settlements import Outcome, SignedSettlements
from serving_network.messages.prices import Prices, hash_requests
from serving_network.messages.usage import UsageRow
from serving_network.settlement.chain import Landed
from serving_network.settlement.following import signed_of
from serving_network.settlement.journal import Journal, open_journal
from serving_network.settlement.journal.records import (
    Batch,
    LiveSettlement,
    Mined,
    OpenWork,
    Recorded,
    Transaction,
    UserState,
)
from serving_network.settlement.options import Options
from serving_network.settlement.report import Report
from serving_network.settlement.runner import Settlement
from serving_network.store.opening import Identity, JournalFailure, JournalOfAnother
from serving_network.usage_logs.reader import UsageLog
from tests.settlement.fake_chain import CONTRACT, PROVIDER, TEE, FakeChain, Pending

DUMP = Path(__file__).with_name("journal_version_1.sql").read_text()
IDENTITY = Identity(31337, "0x", CONTRACT, PROVIDER)
USERS: list[str] = [to_checksum_address(bytes([number]) * 20) for number in range(1, 8)]
STATES = {
    USERS[0]: (7, 460012, 52012, 5, 300),
    USERS[1]: (7, 100000000000000460000, 31500, 2, 100),
    USERS[2]: (7, 475000, 0, 0, 200),
    USERS[3]: (6, 460000, 0, 0, 300),
    USERS[4]: (6, 460000, 0, 0, 300),
    USERS[5]: (1, 6000, 0, 0, 0),
}
"""Requests, owed, paid, first open request and newest nonce, as the program of version 1 printed them."""


def tx_hash(number: int) -> str:
    return "0x" + sha256(b"tx%d" % number).hexdigest()


def hash_of_block(number: int) -> str:
    return "0x" + sha256(b"block%d" % number).hexdigest()


def write(path: Path, script: str = DUMP) -> Path:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


def look(path: Path, query: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def dump(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return write(tmp_path / "journal")


def opened(path: Path) -> contextlib.AbstractContextManager[Journal]:
    return open_journal(path, IDENTITY)


def user_of(journal: Journal, address: str) -> UserState:
    user = journal.user(address)
    assert user is not None
    return user


def row(number: int, user: str, tokens: tuple[int, int] = (10, 1), **changes: Any) -> UsageRow:
    name = sha256(b"%d" % number).digest()
    return UsageRow(number, name, "0x" + name.hex(), user, user, 1, *tokens, None)._replace(**changes)


def open_by_sql(path: Path) -> dict[str, tuple[bytes, int, int]]:
    """From the tables of version 1: the hash, the sum and the number of each user's open requests."""
    told = {}
    for number, address, open_from, open_paid in look(path, "SELECT id, address, open_from, open_paid FROM user"):
        text, total, count, paid = "", 0, 0, int(open_paid)
        for name, spelling, input_text, output_text in look(
            path,
            "SELECT lower(hex(hash)), spelling, input_fee, output_fee FROM request"
            f" WHERE user = {number} AND number >= {open_from} ORDER BY number",
        ):
            input_fee, output_fee = int(input_text), int(output_text)
            of_input = min(paid, input_fee)
            input_fee, output_fee, paid = input_fee - of_input, output_fee - (paid - of_input), 0
            spelled = spelling.replace(" ", "") if spelling else f"0x{name}{address}"
            text += f"{spelled}{input_fee + output_fee}{input_fee}{output_fee}"
            total, count = total + input_fee + output_fee, count + 1
        told[address] = keccak(text.encode()), total, count
    return told


# ------------------------------------------------------------------------------------- what survives


def test_users_and_their_open_requests_survive(old: Path) -> None:
    expected = open_by_sql(old)
    assert {address: total for address, (_, total, _) in expected.items()} == {
        address: owed - paid for address, (_, owed, paid, _, _) in STATES.items()
    }
    tokens = dict(look(old, "SELECT address, input_tokens || ' ' || output_tokens FROM user"))
    for _ in range(2):
        with opened(old) as journal:
            assert {
                user.address: (user.requests, user.owed, user.paid, user.open_from, user.last_nonce)
                for user in journal.users()
            } == STATES
            assert all(user.billed == user.owed for user in journal.users())
            assert {user.address: hash_requests(journal.charges(user)) for user in journal.users()} == expected
            assert {user.address: f"{user.input_tokens} {user.output_tokens}" for user in journal.users()} == tokens
            assert journal.open_work(user_of(journal, USERS[1])) == OpenWork(5, 220, 4)


def test_a_journal_is_migrated_once(old: Path) -> None:
    with opened(old):
        pass
    migrated = dump(old)
    with opened(old):
        pass
    assert dump(old) == migrated
    meta = dict(look(old, "SELECT key, value FROM meta"))
    secret = meta.pop("secret")
    assert len(bytes.fromhex(secret)) == 32
    assert meta == {
        "schema": "6", "chain_id": "31337", "genesis": "0x", "contract": CONTRACT, "provider": PROVIDER, "pass": "3",
    }  # fmt: skip
    assert not look(old, "SELECT name FROM sqlite_master WHERE name LIKE 'old%'")
    assert look(old, "PRAGMA integrity_check") == [("ok",)]


def test_a_migrated_journal_has_the_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name"
    with opened(old), opened(tmp_path / "new"):
        pass
    assert look(old, query) == look(tmp_path / "new", query)


def test_each_migration_uses_its_own_secret_and_keeps_no_hash(old: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other")
    hashes = {name for (name,) in look(old, "SELECT hash FROM known")}
    with opened(old), opened(other):
        pass
    kept = [{name for (name,) in look(path, "SELECT hash FROM known")} for path in (old, other)]
    assert [len(keys) for keys in kept] == [len(hashes)] * 2
    assert not kept[0] & kept[1]
    assert {len(key) for key in kept[0]} == {16}
    assert not any(key in name for key in kept[0] for name in hashes)


def test_migrated_requests_are_known_and_others_with_their_ids_rejected(old: Path) -> None:
    same = [
        *(row(number, USERS[number % 5]) for number in range(20)),
        row(20, USERS[0], (0, 0), fees=(7, 5)),
        row(21, USERS[1], (0, 0), fees=(0, 10**20)),
        row(22, USERS[2], (3, 4), fees=(3000, 12000)),
        *(row(number, USERS[number % 5], (100, 1)) for number in range(30, 40)),
        row(50, USERS[5], (1, 1)),
    ]
    times = dict(look(old, "SELECT hash, time FROM request"))
    same = [one._replace(time=times[one.request_hash]) for one in same]
    assert {one.request_hash for one in same} == {name for (name,) in look(old, "SELECT hash FROM known")}
    with opened(old) as journal:
        for _ in range(2):
            journal.begin_reading()
            assert journal.record(same, Prices(1, 1)) == Recorded(0, len(same), [])
            journal.end_reading()
        journal.begin_reading()
        for other in (
            row(0, USERS[1]), row(1, USERS[1], (11, 1)), row(2, USERS[2], (10, 2)),
            row(3, USERS[3], fees=(10_000, 3001)), row(20, USERS[0], (0, 0), fees=(5, 7)),
        ):  # fmt: skip
            (reject,) = journal.record([other._replace(time=times[other.request_hash])], Prices(1000, 3000)).rejects
            assert reject.reason.endswith("recorded before with different content")
        assert journal.record([row(60, USERS[5])], Prices(9, 9)).new == 1
        journal.end_reading()
        assert user_of(journal, USERS[5]).owed == 6000 + 99
        assert {user.address: user.owed for user in journal.users()} | {USERS[5]: 6000} == {
            address: owed for address, (_, owed, *_) in STATES.items()
        }


def test_batches_with_their_settlements_and_transactions_survive(old: Path) -> None:
    raw = dict(look(old, "SELECT hash, raw FROM sent"))
    rows = look(
        old,
        "SELECT s.batch, s.position, u.address, s.fee, s.nonce, s.requests_hash, s.signature, s.requests,"
        " s.expected_paid FROM settlement s JOIN user u ON u.id = s.user ORDER BY s.batch, s.position",
    )
    with opened(old) as journal:
        batches = [journal.batch(number) for number in (1, 2, 3)]
        # a row of the first was refused, nothing of the second was paid, the third is waiting
        assert journal.open_batches() == batches
        assert [(one.form, one.signer, one.signature, one.from_block) for one in batches] == [
            ("batch", USERS[6], b"S" * 65, 10), ("entries", USERS[6], b"", 12), ("batch", USERS[6], b"S" * 65, 14),
        ]  # fmt: skip
        assert [
            (
                batch.id, place, line.user.address, str(line.settlement.total_fee), str(line.settlement.nonce),
                line.settlement.requests_hash, line.signature, line.requests, str(line.expected_paid),
            )
            for batch in batches
            for place, line in enumerate(batch.rows)
        ] == rows  # fmt: skip
        assert [[line.accepted for line in batch.rows] for batch in batches] == [
            [True, True, False], [False, False], [False, False, False],
        ]  # fmt: skip
        assert [[line.paid_before for line in batch.rows] for batch in batches] == [[0, 0, 0], [0, 0], [52012, 0, 0]]
        assert [batch.transactions for batch in batches] == [
            (Transaction(tx_hash(1), b"raw 1", 0, 100_001, 5, 2),),
            (Transaction(tx_hash(2), b"raw 2", 1, 100_002, 5, 2),),
            (
                Transaction(tx_hash(3), b"raw 3", 2, 100_003, 5, 2),
                Transaction(tx_hash(4), b"raw 4", 2, 100_004, 9, 2),
                Transaction(tx_hash(5), b"raw 5", 3, 100_005, 5, 2),
            ),
        ]
        assert {sent.hash: sent.raw for batch in batches for sent in batch.transactions} == raw
        assert list(journal.booked_blocks()) == [(13, hash_of_block(13)), (11, hash_of_block(11))]
        assert [journal.wallet_nonce_passed(block) for block in (10, 11, 13)] == [0, 1, 2]
        assert journal.sent_nonces(0) == {0, 1, 2, 3}
    assert look(
        old, "SELECT batch_id, position, state, status, paid, block_number, block_hash FROM settlement"
    ) == [
        (1, 0, "accepted", 0, "52012", 11, hash_of_block(11)),
        (1, 1, "accepted", 1, "31500", 11, hash_of_block(11)),
        (1, 2, "signed", 3, None, None, None),
        *(
            (batch, place, "signed", None, None, None, None)
            for batch, place in ((2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
        ),
    ]  # fmt: skip
    assert look(old, "SELECT block_number, block_hash, gas_used, gas_cost, purpose FROM sent ORDER BY id") == [
        (11, hash_of_block(11), 90000, "450000", "carry"), (13, hash_of_block(13), 70000, "350000", "carry"),
        *[(None, None, None, None, "carry")] * 3,
    ]  # fmt: skip


def test_live_settlements_after_the_migration(old: Path) -> None:
    with opened(old) as journal:
        assert {user.address: journal.live(user) for user in journal.users()} == {
            USERS[0]: [LiveSettlement(100, 52012, 0, True, True), LiveSettlement(300, 408000, 52012, False, False)],
            USERS[1]: [LiveSettlement(100, 10**20 + 52000, 0, True, False)],
            USERS[2]: [LiveSettlement(100, 67000, 0, False, False), LiveSettlement(200, 67000, 0, False, False)],
            USERS[3]: [LiveSettlement(200, 52000, 0, False, False), LiveSettlement(300, 460000, 0, False, False)],
            USERS[4]: [LiveSettlement(300, 460000, 0, False, False)],
            USERS[5]: [],
        }
        journal.unbook(11, hash_of_block(11))
        assert [user.paid for user in journal.users()] == [0] * 6
        assert user_of(journal, USERS[0]).open == 460012


def test_a_batch_paid_in_full_stays_ended(old: Path) -> None:
    with contextlib.closing(sqlite3.connect(old)) as connection:
        connection.execute("UPDATE settlement SET status = 0 WHERE batch = 1 AND position = 2")
        connection.commit()
    with opened(old) as journal:
        assert [batch.id for batch in journal.open_batches()] == [2, 3]
        journal.unbook(11, hash_of_block(11))
        assert [batch.id for batch in journal.open_batches()] == [1, 2, 3]


# ------------------------------------------------------------------------------- kills and other versions


class Killed(BaseException):
    """The process is killed here."""


class Fragile(sqlite3.Connection):
    """A connection that calls `at` before each statement of a migration."""

    at: Callable[[str], None] = staticmethod(lambda _: None)

    def execute(self, sql: str, *given: Any) -> sqlite3.Cursor:
        Fragile.at(sql)
        return super().execute(sql, *given)

    def executemany(self, sql: str, *given: Any) -> sqlite3.Cursor:
        Fragile.at(sql)
        return super().executemany(sql, *given)

    def commit(self) -> None:
        Fragile.at("COMMIT")
        super().commit()


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[str], None]], None]]:
    connect = sqlite3.connect

    def connected(*given: Any, **named: Any) -> sqlite3.Connection:
        return connect(*given, **named, factory=Fragile)

    monkeypatch.setattr(sqlite3, "connect", connected)

    def arm(at: Callable[[str], None]) -> None:
        Fragile.at = staticmethod(at)

    yield arm
    Fragile.at = staticmethod(lambda _: None)


def test_a_kill_at_any_statement_keeps_version_1(
    tmp_path: Path, fragile: Callable[[Callable[[str], None]], None]
) -> None:
    intact = dump(write(tmp_path / "intact"))
    statements: list[str] = []
    fragile(statements.append)
    with opened(write(tmp_path / "all")):
        pass
    first = next(place for place, sql in enumerate(statements) if sql.startswith("BEGIN"))
    last = statements.index("COMMIT")
    assert last - first > 50
    for place in range(first, last + 1):
        path = tmp_path / f"j{place}"
        shutil.copy(tmp_path / "intact", path)
        files = tmp_path / f"killed{place}"
        count = iter(range(10**6))

        def kill(
            _: str, place: int = place, count: Iterator[int] = count, files: Path = files, path: Path = path
        ) -> None:
            if next(count) == place:
                files.mkdir()
                for part in path.parent.glob(f"{path.name}*"):
                    shutil.copy(part, files / part.name)
                raise Killed

        fragile(kill)
        with pytest.raises(Killed), opened(path):
            pass
        fragile(lambda _: None)
        for left in (path, files / path.name):  # after an exception, and as a killed process leaves the files
            assert dump(left) == intact
            with opened(left) as journal:
                assert {user.address: user.open for user in journal.users()} == {
                    address: owed - paid for address, (_, owed, paid, _, _) in STATES.items()
                }


def test_each_of_many_requests_is_migrated_once(tmp_path: Path) -> None:
    """They are written in chunks of 10,000."""
    path, count = write(tmp_path / "j", SCHEMA_1), 10_001
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        facts = {"schema": "1", "chain_id": "31337", "genesis": "0x", "contract": CONTRACT, "provider": PROVIDER}
        connection.executemany("INSERT INTO meta VALUES (?, ?)", (facts | {"pass": "1"}).items())
        connection.executemany(
            "INSERT INTO request VALUES (1, ?, ?, NULL, 1, 1, 0, ?, '2')",
            ((number, number.to_bytes(32, "big"), str(number)) for number in range(count)),
        )
    with opened(path):
        pass
    assert look(path, "SELECT number, hash, price_id FROM request") == [
        (number, number.to_bytes(32, "big"), 0) for number in range(count)
    ]
    assert look(path, "SELECT * FROM price") == [(0, "0", "0", "1", 0)]
    assert look(path, "SELECT number, input_fee FROM own_fee") == [(number, str(number)) for number in range(count)]


def test_an_interrupted_migration_is_reported_and_succeeds_next_time(old: Path) -> None:
    intact = dump(old)
    with contextlib.closing(sqlite3.connect(old)) as connection:
        connection.execute("INSERT INTO sent VALUES (9, 3, 'x', x'00', 'much', 1, '1', '1', 0)")
        connection.execute("UPDATE request SET input_fee = 'much' WHERE user = 6")
        connection.commit()
    damaged = dump(old)
    with pytest.raises(JournalFailure, match="cannot be used") as caught, opened(old):
        pass
    assert caught.value.next_step
    assert dump(old) == damaged
    with contextlib.closing(sqlite3.connect(old)) as connection:
        connection.execute("DELETE FROM sent WHERE id = 9")
        connection.execute("UPDATE request SET input_fee = '2000' WHERE user = 6")
        connection.commit()
    assert dump(old) == intact
    with opened(old) as journal:
        assert user_of(journal, USERS[5]).open == 6000


@pytest.mark.parametrize("version", ["7", "10", ""])
def test_a_journal_of_another_version_is_refused_unchanged(old: Path, version: str) -> None:
    with contextlib.closing(sqlite3.connect(old)) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (version,))
        connection.commit()
    before = dump(old)
    with pytest.raises(JournalOfAnother, match="another version") as caught, opened(old):
        pass
    assert version in str(caught.value.cause)
    assert "newest version" in str(caught.value.next_step)
    assert dump(old) == before


def test_a_journal_of_something_else_is_not_migrated(old: Path) -> None:
    before = dump(old)
    with (
        pytest.raises(JournalOfAnother, match="another chain id"),
        open_journal(old, Identity(1, "0x", CONTRACT, PROVIDER)),
    ):
        pass
    assert dump(old) == before


# ---------------------------------------------------------------------------------- a run on what was migrated


def settle(chain: FakeChain, path: Path, log: Path | None) -> Report:
    with opened(path) as journal:
        options = Options(first_pause=0, patience=0, stuck_after=60, give_up_after=0.5)
        run = Settlement(chain, journal, TEE, options, clock=lambda: chain.now)
        return asyncio.run(run.run(None if log is None else UsageLog(log, provider=PROVIDER)))


def put(
    chain: FakeChain, number: int, sent: Transaction, signed: SignedSettlements | None, outcomes: list[tuple[int, int]]
) -> None:
    """A block of the past with one transaction, as the old program saw it or would have."""
    while len(chain.blocks) < number:
        chain.mine()
    where = Mined(number, hash_of_block(number), 90_000, 450_000)
    landed = Landed(bool(outcomes), where, tuple(Outcome(*one) for one in outcomes), sent.hash)
    pending = Pending(sent.hash, sent.nonce, 5, signed)
    chain.mine()
    chain.state.wallet_nonce = max(chain.state.wallet_nonce, sent.nonce + 1)
    chain.blocks[-1].hash = where.block_hash
    chain.blocks[-1].transactions.append((pending, landed))


def past(chain: FakeChain, batches: list[Batch], *, waiting_is_paid: bool) -> None:
    """The chain that the old journal tells of; of the batch that waited, both nonces were used."""
    first, second, third = batches
    put(chain, 11, first.transactions[0], signed_of(first), [(0, 52012), (1, 31500), (3, 0)])
    put(chain, 13, second.transactions[0], signed_of(second), [])
    chain.fund(USERS[0], 0, nonce=100)
    chain.fund(USERS[1], 0, nonce=100)
    if waiting_is_paid:
        put(chain, 15, third.transactions[1], signed_of(third), [(0, 408000), (1, 1000), (0, 460000)])
        put(chain, 16, third.transactions[2], signed_of(third), [(2, 0), (2, 0), (2, 0)])
        for user in (USERS[0], USERS[3], USERS[4]):
            chain.fund(user, 0, nonce=300)
    else:
        for nonce in (2, 3):
            put(chain, 14 + nonce, Transaction(f"0xother{nonce}", b"", nonce, 1, 1, 1), None, [])
    for user in USERS[:6]:
        chain.fund(user, 10**21)


@pytest.mark.parametrize("waiting_is_paid", [True, False])
@pytest.mark.parametrize("form", ["entries", "batch"])
def test_a_run_resumes_where_the_old_program_stopped(
    old: Path, tmp_path: Path, form: str, waiting_is_paid: bool
) -> None:
    chain = FakeChain(batches=form == "batch")
    with opened(write(tmp_path / "shadow")) as journal:
        past(chain, [journal.batch(number) for number in (1, 2, 3)], waiting_is_paid=waiting_is_paid)
    before = {user: chain.state.accounts[user].balance for user in USERS[:6]}
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"id": "new", "user": USERS[5], "time": 1, "fee": 77}) + "\n")
    already = {USERS[0]: 408000, USERS[3]: 1000, USERS[4]: 460000} if waiting_is_paid else {}
    for _ in range(4):
        report = settle(chain, old, log)
        chain.mine()
        chain.now += 1
        assert report.stopped_by is None
        for user, (_, owed, paid, _, _) in STATES.items():
            due = owed - paid - already.get(user, 0) + 77 * (user == USERS[5])
            assert before[user] - chain.state.accounts[user].balance <= due
    for user, (_, owed, paid, _, _) in STATES.items():
        due = owed - paid - already.get(user, 0) + 77 * (user == USERS[5])
        assert before[user] - chain.state.accounts[user].balance == due
    with opened(old) as journal:
        assert [user.open for user in journal.users()] == [0] * 6
        assert journal.open_batches() == []
        assert [journal.live(user) for user in journal.users()] == [[]] * 6


# ------------------------------------------------------------------------------------ any journal of version 1

FEES = st.sampled_from([0, 1, 7, 10**9, 10**25])
SCHEMA_1 = "\n".join(
    statement for statement in DUMP.replace("BEGIN TRANSACTION;", "").replace("COMMIT;", "").split("\n")
    if not statement.startswith("INSERT")
)  # fmt: skip


@st.composite
def old_journals(draw: st.DrawFn) -> tuple[list[tuple[str, tuple[Any, ...]]], dict[str, Any]]:
    """Statements that make one, and what it says: per user the fees and what was paid, and the batches' states."""
    fees = draw(st.lists(st.lists(st.tuples(FEES, FEES), max_size=5), min_size=1, max_size=4))
    made: list[tuple[str, tuple[Any, ...]]] = []
    paid, nonces = [0] * len(fees), [0] * len(fees)
    settlements: dict[int, list[tuple[int, int | None, int]]] = {}
    states: dict[int, str] = {}
    sent: dict[int, int] = {}
    for number in range(1, draw(st.integers(0, 4)) + 1):
        states[number] = draw(st.sampled_from(["open", "mined", "mined", "reverted"]))
        settlements[number] = []
        for user in draw(st.sets(st.sampled_from(range(len(fees))))):
            nonces[user] += draw(st.integers(1, 10**17))
            due = sum(map(sum, fees[user])) - paid[user]
            status = draw(st.sampled_from([0, 1, 2, 3, 4])) if states[number] == "mined" else None
            amount = {0: due, 1: draw(st.integers(0, due))}.get(9 if status is None else status, 0)
            place = len(settlements[number])
            settlements[number].append((user, status, amount))
            made.append(
                (
                    "INSERT INTO settlement VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (number, place, user + 1, str(due), str(nonces[user]), b"h", b"s", len(fees[user]), str(due),
                     status, None if status is None else str(amount)),
                )
            )  # fmt: skip
            paid[user] += amount
        sent[number] = draw(st.integers(1, 3))
        made += [
            (
                "INSERT INTO sent VALUES (NULL, ?, ?, ?, ?, 1, '1', '1', ?)",
                (number, f"0x{number}-{copy}", b"raw%d" % copy, number, copy % 2),
            )
            for copy in range(sent[number])
        ]
        mined = (None,) * 4 if states[number] == "open" else (number, f"0x{number}", 5, str(10**20))
        made.append(
            ("INSERT INTO batch VALUES (?, 'entries', 's', ?, 1, ?, ?, ?, ?, ?)", (number, b"", states[number], *mined))
        )
    for user, queue in enumerate(fees):
        place, left = 0, paid[user]
        while place < len(queue) and left >= sum(queue[place]):
            left -= sum(queue[place])
            place += 1
        made.append(
            (
                "INSERT INTO user VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?)",
                (user + 1, USERS[user], len(queue), len(queue), str(sum(map(sum, queue))), str(paid[user]), place,
                 str(left), str(nonces[user])),
            )
        )  # fmt: skip
        for number, (input_fee, output_fee) in enumerate(queue):
            name = sha256(b"%d of %d" % (number, user)).digest()
            made.append(
                (
                    "INSERT INTO request VALUES (?, ?, ?, NULL, 1, 1, 0, ?, ?)",
                    (user + 1, number, name, str(input_fee), str(output_fee)),
                )
            )
            made.append(("INSERT INTO known VALUES (?, ?, ?, 1)", (name, user + 1, number)))
    told = {"fees": fees, "paid": paid, "nonces": nonces, "settlements": settlements, "states": states, "sent": sent}
    return made, told


@settings(max_examples=60)
@given(old_journals())
def test_any_journal_of_version_1_keeps_its_sums(
    made: tuple[list[tuple[str, tuple[Any, ...]]], dict[str, Any]],
) -> None:
    statements, told = made
    with tempfile.TemporaryDirectory() as directory:
        path = write(Path(directory) / "j", SCHEMA_1)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            facts = {"schema": "1", "chain_id": "31337", "genesis": "0x", "contract": CONTRACT, "provider": PROVIDER}
            connection.executemany("INSERT INTO meta VALUES (?, ?)", (facts | {"pass": "1"}).items())
            for statement, values in statements:
                connection.execute(statement, values)
            connection.commit()
        by_sql = open_by_sql(path)
        with opened(path) as journal:
            users = journal.users()
            assert [user.owed for user in users] == [sum(map(sum, queue)) for queue in told["fees"]]
            assert [user.paid for user in users] == told["paid"]
            assert [user.last_nonce for user in users] == told["nonces"]
            assert {user.address: hash_requests(journal.charges(user)) for user in users} == by_sql
            for user, queue in zip(users, told["fees"], strict=True):
                paid_before = user.paid - int(look(path, f"SELECT open_paid FROM user WHERE id = {user.id}")[0][0])
                assert paid_before == sum(map(sum, queue[: user.open_from]))
            for number, rows in told["settlements"].items():
                batch = journal.batch(number)
                assert [line.accepted for line in batch.rows] == [status in (0, 1) for _, status, _ in rows]
                assert len(batch.transactions) == told["sent"][number]
            assert {batch.id for batch in journal.open_batches()} == {
                number
                for number, rows in told["settlements"].items()
                if told["states"][number] != "mined" or any(status not in (0, 1) for _, status, _ in rows)
            }
            before = dict.fromkeys(range(len(users)), 0)
            for number, rows in told["settlements"].items():
                for line, (user, _, amount) in zip(journal.batch(number).rows, rows, strict=True):
                    assert line.paid_before == before[user]
                    before[user] += amount
            for number, block_hash in list(journal.booked_blocks()):
                journal.unbook(number, block_hash)
            assert [user.paid for user in users] == [0] * len(users)
            assert [user.open for user in users] == [user.owed for user in users]
            journal.begin_reading()
            again = [
                row(0, user.address, (1, 0), request_hash=sha256(b"%d of %d" % (number, user.id - 1)).digest())
                for user in users
                for number in range(user.requests)
            ]
            assert journal.record(again, Prices(1, 1)) == Recorded(0, len(again), [])
