# SPDX-License-Identifier: Apache-2.0
"""Gateways that share a store: together they never reserve more than is free, and nothing is billed by two of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving_network.messages.prices import Prices
from serving_network.messages.receipts import Ending, Source
from serving_network.settlement.journal import open_journal
from serving_network.store.billing import Balance, Begun, Biller, Delivered, Finished, Terms, begin, set_balances
from serving_network.store.intake import Intake, _plain
from serving_network.store.location import PostgresStore, beside
from serving_network.store.opening import JournalFailure, connected
from serving_network.store.spool import Spool
from serving_network.store.writing import each
from tests.postgres import PostgresServer
from tests.settlement.test_served import IDENTITY, SIGNER, USERS, delivered, terms

USER = USERS[0]
WEI = 100


def of_machine(store: PostgresStore, number: int) -> PostgresStore:
    """The same store, as another machine sees it."""
    return replace(store, files=store.files.with_name(f"machine-{number}"))


@pytest.fixture
def store(postgres: PostgresServer, tmp_path: Path) -> PostgresStore:
    return postgres.store(tmp_path / "store")


@asynccontextmanager
async def gateways(store: PostgresStore, count: int) -> AsyncIterator[list[Intake]]:
    async with AsyncExitStack() as held:
        intakes = []
        for number in range(count):
            intake = Intake(of_machine(store, number), IDENTITY, SIGNER)
            intake.open()
            held.callback(intake.close)
            intakes.append(intake)
        yield intakes


def asked(number: int, user: str = USER) -> Terms:
    return replace(terms(number, user), reserved=WEI)


async def serve(intake: Intake, number: int, fee: int = WEI) -> bool:
    """One request that can cost WEI and costs `fee`; False if it is refused."""
    money = intake.money
    await money.secure(USER, WEI)
    if money.free(USER) < WEI:
        money.return_surplus(USER)
        return False
    money.take(USER, WEI)
    try:
        await asyncio.sleep(random.uniform(0, 0.02))
        assert await intake.finish(asked(number), delivered(fee), Ending.COMPLETE, 1) is not None
    finally:
        money.give_back(USER, WEI)
    return True


def leased(postgres: PostgresServer, store: PostgresStore) -> int:
    schema = store.url.rpartition("=")[2]
    return int(postgres.sql(f"SELECT coalesce(sum(wei::numeric), 0) FROM {schema}.lease"))


def test_two_gateways_never_serve_more_than_the_balance(postgres: PostgresServer, store: PostgresStore) -> None:
    """100 requests with money for ten; a settlement, a deposit and a refund request land in between."""

    async def scenario() -> None:
        async with gateways(store, 2) as intakes:
            await intakes[0].set_balance(USER, 10 * WEI, 0, 1)
            served = await asyncio.gather(*(serve(intakes[number % 2], number) for number in range(100)))
            assert sum(served) == 10
            with open_journal(store, IDENTITY) as journal:
                assert journal.take_served(Prices(1, 1)) == 10
            assert not await serve(intakes[1], 200)
            await intakes[1].set_balance(USER, 13 * WEI, 0, 2)
            served = await asyncio.gather(*(serve(intakes[number % 2], 300 + number) for number in range(20)))
            assert sum(served) == 3
            await intakes[0].set_balance(USER, 10 * WEI, 0, 1)  # an older block
            await intakes[0].set_balance(USER, 20 * WEI, 6 * WEI, 3)
            served = await asyncio.gather(*(serve(intakes[number % 2], 400 + number) for number in range(20)))
            assert sum(served) == 1
            assert [one.money.reserved for one in intakes] == [0, 0]
            await intakes[0]._writer.submit(each, lambda _: None)  # what was returned is committed now
            await intakes[1]._writer.submit(each, lambda _: None)
            receipts = intakes[1].receipts(USER, 0, 500)
            assert [one.receipt.sequence for one in receipts] == list(range(1, 15))
            assert sum(one.receipt.fee for one in receipts) == 14 * WEI

    asyncio.run(scenario())
    assert leased(postgres, store) == 0


def test_cheap_requests_of_a_rich_user_need_no_lease_each(store: PostgresStore) -> None:
    async def scenario() -> None:
        async with gateways(store, 1) as (intake,):
            await intake.set_balance(USER, 10_000 * WEI, 0, 1)
            await intake.money.secure(USER, WEI)
            assert intake.money.free(USER) == 4 * WEI
            for number in range(20):
                assert await serve(intake, number, fee=1)
            assert intake.money.free(USER) == 4 * WEI - 20
            funds = intake.funds(USER)
            assert funds is not None
            assert funds.free == 10_000 * WEI - 20

    asyncio.run(scenario())


def test_a_lease_is_set_anew_after_a_failure(postgres: PostgresServer, store: PostgresStore) -> None:
    async def scenario() -> None:
        async with gateways(store, 1) as (intake,):
            money = intake.money
            await intake.set_balance(USER, 5 * WEI, 0, 1)
            await money.secure(USER, WEI)
            money.take(USER, WEI)
            postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'serving'")
            with pytest.raises(JournalFailure):
                await money.secure(USER, 2 * WEI)
            assert money.free(USER) == 0
            await money.secure(USER, 9 * WEI)
            assert money.free(USER) == 4 * WEI  # all but what is reserved
            money.give_back(USER, WEI)
            await intake._writer.submit(each, lambda _: None)

    asyncio.run(scenario())


def test_a_crashed_gateway_is_taken_over_once(postgres: PostgresServer, store: PostgresStore) -> None:
    """What it delivered is billed and its money is free again. If it lives after all, it neither delivers nor bills."""

    async def scenario() -> None:
        async with gateways(store, 3) as (crashed, *others):
            await crashed.set_balance(USER, 10 * WEI, 0, 1)
            await crashed.money.secure(USER, 2 * WEI)
            session = crashed.money.take(USER, 2 * WEI)
            await crashed.begin(asked(1), 1)
            crashed.checkpoint(asked(1).id, delivered(30), 2)
            await crashed._writer.submit(each, lambda _: None)
            for one in others:
                assert await one._writer.submit(each, one._sessions.take_over) == 0  # type: ignore[union-attr]
            schema = store.url.rpartition("=")[2]
            gateway = crashed._sessions.gateway  # type: ignore[union-attr]
            postgres.sql(f"UPDATE {schema}.gateway SET until = 0 WHERE id = '{gateway}'")
            billed = await asyncio.gather(*(one._writer.submit(each, one._sessions.take_over) for one in others))  # type: ignore[union-attr]
            assert sorted(billed) == [0, 1]
            (receipt,) = others[0].receipts(USER, 0, 10)
            assert (receipt.receipt.ending, receipt.receipt.source) == (Ending.CRASH, Source.CHECKPOINT)
            assert receipt.receipt.fee == 30
            await others[0].money.secure(USER, 100 * WEI)
            assert others[0].money.free(USER) == 10 * WEI - 30
            # The stream ends in the gateway that was given up: it is billed already. Another answer is not delivered.
            assert await crashed.finish(asked(1), delivered(60), Ending.COMPLETE, 3) == receipt
            for _ in range(2):  # also not after it has begun another session
                with pytest.raises(JournalFailure):
                    await crashed.finish(replace(asked(2), session=session), delivered(WEI), Ending.COMPLETE, 3)
            crashed.money.give_back(USER, 2 * WEI)
            assert not await serve(crashed, 3)
            assert [one.receipt.id for one in others[1].receipts(USER, 0, 10)] == [asked(1).id]

    asyncio.run(scenario())


def test_a_gateway_that_starts_again_bills_what_its_crash_cut(store: PostgresStore) -> None:
    async def scenario() -> None:
        async with gateways(store, 2) as (_, other):
            first = Intake(of_machine(store, 2), IDENTITY, SIGNER)
            first.open()
            await first.set_balance(USER, 10 * WEI, 0, 1)
            await first.money.secure(USER, WEI)
            await first.begin(asked(1), 1)
            await other.begin(asked(2), 1)
            first._writer.close()  # the process ends, and the operating system releases its lock
            first._held.close()
            again = Intake(of_machine(store, 2), IDENTITY, SIGNER)
            assert again.open() == 1
            assert [one.receipt.id for one in again.receipts(USER, 0, 10)] == [asked(1).id]
            await again.money.secure(USER, 100 * WEI)
            assert again.money.free(USER) == 10 * WEI
            again.close()
            assert await other.finish(asked(2), Delivered(), Ending.COMPLETE, 2) is not None

    asyncio.run(scenario())


def test_a_gateway_has_an_id_of_its_own_and_leaves_nothing_when_it_stops(
    postgres: PostgresServer, store: PostgresStore
) -> None:
    schema = store.url.rpartition("=")[2]

    async def scenario() -> list[str]:
        ids = []
        for _ in range(2):
            async with gateways(store, 1) as (intake,):
                ids.append(postgres.sql(f"SELECT id FROM {schema}.gateway").strip())
                assert intake._sessions is not None
                jobs, sessions = list(intake._writer._order), intake._sessions
                assert jobs[-3:] == [sessions.lower, sessions.grow, sessions.bill], "a lease is set anew, then lowered"
                await intake.set_balance(USER, 10_000 * WEI, 0, 1)
                await intake.money.secure(USER, WEI)
        return ids

    first, second = asyncio.run(scenario())
    assert (first, len(bytes.fromhex(first))) == (second, 16)
    assert beside(of_machine(store, 0), ".gateway-id").read_text() == first
    assert postgres.sql(f"SELECT count(*) FROM {schema}.gateway").strip() == "0"
    assert leased(postgres, store) == 0


@pytest.mark.parametrize("left", ["begun", "spooled"])
def test_what_a_crash_left_is_billed_after_what_another_gateway_bills_meanwhile(
    postgres: PostgresServer, store: PostgresStore, left: str
) -> None:
    def bill_it() -> None:
        intake = Intake(store, IDENTITY, SIGNER)
        with closing(Spool(beside(store, ".spool"))) as intake._spool, connected(store, IDENTITY) as db:
            if left == "spooled":
                intake._spool.append(spooled(asked(1)))
            db.begin()
            if left == "spooled":
                intake._take_spool(db)
            else:
                intake._biller.bill_cut(db, "crashed")
            db.commit()

    with connected(store, IDENTITY) as db, ThreadPoolExecutor(1) as pool:
        db.begin()
        set_balances(db, [Balance(USER, WEI, 0, 1, 0)])
        if left == "begun":
            begin(db, [Begun(asked(1), "crashed", 1)])
        db.commit()
        db.begin()
        db.lock_accounts([USER])
        Biller(IDENTITY, SIGNER).bill(db, [Finished(asked(2), delivered(WEI), Ending.COMPLETE, 1)])
        billing = pool.submit(bill_it)
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'serving'"
        while postgres.sql(waits).strip() == "0" and not billing.done():
            pass
        db.commit()
        billing.result(60)
        rows = db.execute("SELECT id, sequence, billed_before FROM served ORDER BY sequence").fetchall()
        assert [tuple(row) for row in rows] == [(asked(2).id, 1, "0"), (asked(1).id, 2, str(WEI))]


def spooled(terms: Terms) -> dict[str, Any]:
    """The row that a spool has for this request."""
    return {"terms": _plain(terms), "delivery": _plain(Delivered()), "ending": 0, "time": 1, "upstream_id": None}
