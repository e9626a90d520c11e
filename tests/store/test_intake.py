# SPDX-License-Identifier: Apache-2.0
"""The gateway's half of the store: what it does when a row cannot be stored, when it opens and when it closes."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from serving_network.errors import ServingError
from serving_network.messages.receipts import Ending, SignedReceipt, Source
from serving_network.store.billing import Biller, Delivered
from serving_network.store.database import DatabaseFailure
from serving_network.store.intake import Intake, _ignore_failure
from serving_network.store.leases import LocalMoney
from serving_network.store.opening import JournalFailure
from serving_network.store.schema import padded
from serving_network.store.writing import each
from tests.settlement.test_served import IDENTITY, SIGNER, USERS, delivered, terms

USER = USERS[0]
IMAGES = (sha256(b"one").digest(), sha256(b"two").digest())
RICH = Delivered(sha256(b"answer").digest(), 77, 11, 4, 5, 700, 1000, Source.DELTAS, IMAGES)


@asynccontextmanager
async def opened(path: Path, billed: int = 0) -> AsyncIterator[Intake]:
    """A store that bills this many requests when it is opened. No callback may fail until it is closed."""
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    intake = Intake(path, IDENTITY, SIGNER)
    assert intake.open() == billed
    async with asyncio.timeout(20):
        try:
            yield intake
        finally:
            intake.close()
        for _ in range(3):
            await asyncio.sleep(0)
    gc.collect()
    assert failures == []


def refuse(intake: Intake, monkeypatch: pytest.MonkeyPatch, cause: BaseException | None) -> None:
    """Let every job fail for this reason, or never end if there is none."""

    def submit(*_: Any, **__: Any) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        if cause is not None:
            failure = JournalFailure("The request could not be stored.")
            failure.__cause__ = cause
            future.set_exception(failure)
        return future

    monkeypatch.setattr(intake._writer, "submit", submit)


async def finish(intake: Intake, number: int, fee: int = 10) -> SignedReceipt | None:
    return await intake.finish(terms(number), delivered(fee), Ending.COMPLETE, 1)


def known(intake: Intake) -> bool:
    """Whether the money of users is at hand."""
    assert isinstance(intake.money, LocalMoney)
    return bool(intake.money._known)


async def rich(intake: Intake) -> None:
    """Give the user a balance that is at hand."""
    await intake.set_balance(USER, 1000, 0, 7)
    intake.money.free(USER)
    assert known(intake)


def looked_up(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def test_a_row_comes_out_of_the_spool_as_it_went_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "j"

    async def scenario() -> None:
        async with opened(path) as intake:
            assert (tmp_path / "j.gateway.lock").exists()
            await finish(intake, 0)
            refuse(intake, monkeypatch, sqlite3.OperationalError("database or disk is full"))
            wanted = replace(terms(1), token_id=3)
            assert await intake.finish(wanted, RICH, Ending.CUT_BY_STOP, 50, upstream_id="chatcmpl-1") is None
            assert await finish(intake, 2) is None
        async with opened(path, billed=2) as intake:
            assert intake._spool.end == 0
            first, second, last = intake.receipts(USER, 0, 9)
            assert (first.receipt.id, second.receipt.id, last.receipt.id) == tuple(terms(one).id for one in range(3))
            receipt, disclosure = second.receipt, second.disclosure
            assert disclosure is not None
            assert (receipt.token_id, receipt.input_price, receipt.output_price) == (3, 100, 200)
            assert (receipt.input_tokens, receipt.cached_tokens, receipt.output_tokens) == (11, 4, 5)
            assert (receipt.input_fee, receipt.output_fee, receipt.source) == (700, 1000, Source.DELTAS)
            assert (receipt.ending, receipt.time, disclosure.model) == (Ending.CUT_BY_STOP, 50, "model")
            assert (disclosure.answer_hash, disclosure.length) == (RICH.answer_hash, 77)
            assert disclosure.request_hash == terms(1).request_hash
            assert intake.id_of(USER, "chatcmpl-1") == terms(1).id
            answer = intake.answer(terms(1).id, 0)
            assert answer is not None
            assert answer.text.endswith(",".join(one.hex() for one in IMAGES))

    asyncio.run(scenario())


def because(first: BaseException, second: BaseException) -> BaseException:
    first.__cause__ = second
    return first


@pytest.mark.parametrize(
    ("cause", "spooled"),
    [
        (lambda: sqlite3.OperationalError("full"), True),
        (lambda: OSError("full"), True),
        (lambda: JournalFailure("gone"), True),
        (lambda: DatabaseFailure("down", temporary=True), True),
        (lambda: because(ValueError("odd"), OSError("full")), True),
        (lambda: DatabaseFailure("refused"), False),
        (lambda: sqlite3.DatabaseError("damaged"), False),
        (lambda: sqlite3.IntegrityError("twice"), False),
        (lambda: because(sqlite3.OperationalError("odd"), sqlite3.IntegrityError("twice")), False),
    ],
)
def test_rows_are_spooled_only_if_the_store_may_take_them_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: Callable[[], BaseException], spooled: bool
) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "j") as intake:
            await rich(intake)
            refuse(intake, monkeypatch, cause())
            if spooled:
                assert await finish(intake, 1) is None
            else:
                with pytest.raises(JournalFailure, match="could not be stored"):
                    await finish(intake, 1)
            assert (bool(intake._spool.end), known(intake)) == (spooled, False)

    asyncio.run(scenario())


def test_a_stream_that_a_crash_ended_is_answered_with_its_receipt(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "j") as intake:
            for number in (1, 2, 3):
                await intake.begin(terms(number), 1)
            await intake.abandon(terms(2).id)
            intake.checkpoint(terms(1).id, delivered(30), 2)
            await finish(intake, 3)
        async with opened(tmp_path / "j", billed=1) as intake:
            crashed = await finish(intake, 1, 60)
            assert crashed is not None
            assert (crashed.receipt.ending, crashed.receipt.fee) == (Ending.CRASH, 30)
            with pytest.raises(JournalFailure):
                await finish(intake, 3)
            assert len(intake.receipts(USER, 0, 9)) == 2

    asyncio.run(scenario())


def test_what_is_billed_and_what_is_read_from_the_chain_changes_what_is_free(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "j") as intake:
            await rich(intake)
            await finish(intake, 1, 30)
            await finish(intake, 2, 50)
            assert known(intake)
            assert intake.money.free(USER) == 920
            await intake.set_balance(USER, 2000, 500, 8)
            assert intake.money.free(USER) == 1420
            assert intake.funds(USERS[1]) is None

    asyncio.run(scenario())


def test_a_cancelled_request_forgets_what_was_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "j") as intake:
            await rich(intake)
            refuse(intake, monkeypatch, None)
            waiting = asyncio.create_task(finish(intake, 1))
            await asyncio.sleep(0)
            assert known(intake)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert not known(intake)

    asyncio.run(scenario())


def test_a_payment_that_is_mined_and_not_booked_counts_as_settled(tmp_path: Path) -> None:
    path = tmp_path / "j"

    async def scenario() -> None:
        async with opened(path) as intake:
            await finish(intake, 1, 100)
            with closing(sqlite3.connect(path)) as db, db:
                db.execute("INSERT INTO user VALUES (1, ?, 0, 0, 0, '0', '0', '0', 0, '0')", (USER,))
                for place, nonce in enumerate((0, 5)):
                    row = (1, place, 1, "30", padded(nonce), b"", b"", 1, "0", "30", "signed")
                    db.execute("INSERT INTO settlement VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '', 0, '', '')", row)
            await intake.set_balance(USER, 1000, 0, 7)
            assert intake.unsettled(USER) == 100
            assert looked_up(path, "SELECT nonce FROM account") == [(padded(0),)]
            await intake.set_balance(USER, 970, 0, 8, 5, 30)
            assert intake.unsettled(USER) == 70
            await intake.set_balance(USER, 970, 0, 9, 5)
            assert intake.unsettled(USER) == 100

    asyncio.run(scenario())


def test_a_store_that_cannot_be_opened_is_left_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is stored, not even what could be, and the next one gets the lock."""
    path = tmp_path / "j"
    monkeypatch.setattr("serving_network.store.intake.SHORT_WAIT", 0.0)

    def fails(*_: Any) -> Any:
        raise RuntimeError("no")

    def no_space(*_: Any) -> Any:
        raise OSError("full")

    async def scenario() -> None:
        async with opened(path) as intake:
            await intake.begin(terms(1), 1)
            refuse(intake, monkeypatch, OSError("full"))
            await finish(intake, 2)
        with monkeypatch.context() as patch:
            patch.setattr(Biller, "bill_cut", fails)
            first, second = Intake(path, IDENTITY, SIGNER), Intake(path, IDENTITY, SIGNER)
            with pytest.raises(RuntimeError):
                first.open()
            patch.setattr("serving_network.store.intake.Spool", no_space)
            with pytest.raises(JournalFailure, match="cannot be used") as caught:
                second.open()
        assert looked_up(path, "SELECT count(*) FROM served") == [(0,)]
        assert isinstance(caught.value.__cause__, OSError)
        with pytest.raises(JournalFailure, match="another genesis"):
            Intake(path, replace(IDENTITY, genesis="0x1"), SIGNER).open()
        async with opened(path, billed=2) as intake:
            with pytest.raises(ServingError, match="Another gateway"):
                Intake(path, IDENTITY, SIGNER).open()

    asyncio.run(scenario())


def test_the_spool_is_emptied_once_and_not_after_the_store_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    async def spool(intake: Intake) -> None:
        with monkeypatch.context() as patch:
            refuse(intake, patch, OSError("full"))
            assert await finish(intake, 1) is None

    def check(intake: Intake) -> None:
        with pytest.raises(JournalFailure, match="does not take rows") as caught:
            intake.funds(USER)
        assert caught.value.next_step

    async def scenario() -> None:
        async with opened(tmp_path / "j") as intake:
            await rich(intake)
            await spool(intake)
            submit = intake._writer.submit

            def noted(*job: Any) -> asyncio.Future[Any]:
                asked.append(job)
                return submit(*job)

            monkeypatch.setattr(intake._writer, "submit", noted)
            check(intake)
            check(intake)
            assert len(asked) == 1
            while intake._spool.end:
                await asyncio.sleep(0.001)
            assert intake.funds(USER) is not None
            assert not known(intake)
            assert [one.receipt.id for one in intake.receipts(USER, 0, 9)] == [terms(1).id]
        async with opened(tmp_path / "j") as intake:
            await rich(intake)
            with monkeypatch.context() as patch:
                refuse(intake, patch, OSError("full"))
                assert await finish(intake, 2) is None
                check(intake)  # the writer fails, and is asked again
                await asyncio.sleep(0.01)
                assert intake._spool.end
            check(intake)
        async with opened(tmp_path / "j") as intake:
            assert len(intake.receipts(USER, 0, 9)) == 2

    asyncio.run(scenario())


def test_a_closed_store_leaves_no_file_open(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "j") as intake:
            assert intake.receipts(USER, 0, 9) == []

    asyncio.run(scenario())
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        asyncio.run(scenario())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_lost_checkpoint_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "j") as intake:
            with monkeypatch.context() as patch:
                refuse(intake, patch, OSError("full"))
                intake.checkpoint(terms(1).id, delivered(1), 1)
            cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            cancelled.cancel()
            cancelled.add_done_callback(_ignore_failure)
            await asyncio.sleep(0)

    asyncio.run(scenario())


def test_the_only_gateway_keeps_no_leases_and_little_in_memory(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "j") as intake:
            async with asyncio.timeout(1):
                await intake.keep()
            found = await intake._writer.submit(each, lambda db: db.execute("PRAGMA cache_size").fetchone())
            assert found == (-16_384,)

    asyncio.run(scenario())
