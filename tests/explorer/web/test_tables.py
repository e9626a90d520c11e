# SPDX-License-Identifier: Apache-2.0
"""Tables: sorted, paged and downloaded, with exact amounts; the same on both databases."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from serving_network.explorer.index.listing import Lists
from serving_network.explorer.index.opening import reading
from serving_network.explorer.index.paid import Paid
from serving_network.explorer.web.cells import Kind, in_csv
from serving_network.explorer.web.site import Source
from serving_network.store.location import Location
from tests.explorer.web.conftest import Browser, browse
from tests.explorer.web.document import Document
from tests.explorer.web.synthetic import HOSTILE, INFERENCE, NOW, USER, Size, build


def _amounts(html: str) -> list[int]:
    """The exact amounts of wei that a page shows, in their order."""
    return [int(one) for one in re.findall(r"= (\d+) wei", html)]


def test_amounts_sort_by_value_and_pages_follow_each_other(source: Source) -> None:
    async def read(browser: Browser) -> list[str]:
        paths = [
            f"/user/{USER}?sort.settled=-paid",
            "/users?sort.users=total",
            "/users?sort.users=total&page.users=2",
        ]
        return [(await browser.get(path)).text for path in paths]

    settled, first, second = browse(source, read)
    table = settled.partition('id="settled"')[2].partition("</section>")[0]
    paid = _amounts(table)[0::2]
    assert paid == sorted(paid, reverse=True)
    assert len({len(str(one)) for one in paid}) > 1  # so that an order of texts would be another one
    totals = [_amounts(one.partition("<tbody")[2])[0::5] for one in (first, second)]
    assert [len(one) for one in totals] == [25, 15]
    assert totals[0] + totals[1] == sorted(totals[0] + totals[1])


def test_a_query_that_makes_no_sense_is_as_none(source: Source) -> None:
    async def read(browser: Browser) -> set[str]:
        queries = ("", "?page.users=0", "?page.users=-1", "?page.users=x", "?sort.users=nothing", "?sort.users=--user")
        bodies = [(await browser.get(f"/users{one}")).text for one in queries]
        last = (await browser.get("/users?page.users=999999999")).text
        assert "Page 2 of 2" in last
        return {one.partition("<tbody")[2].partition("</tbody")[0] for one in bodies}

    assert len(browse(source, read)) == 1


def test_what_contracts_hold_is_set_against_what_they_owed_at_the_same_block(index: Path, tmp_path: Path) -> None:
    newer = tmp_path / "index.sqlite"
    shutil.copy(index, newer)
    db = sqlite3.connect(newer)
    db.execute("UPDATE total SET amount = '1' || amount WHERE contract = ? AND name = 'balances'", (INFERENCE,))
    db.commit()
    db.close()

    async def read(browser: Browser) -> Any:
        assert "Held when compared" in (await browser.get("/")).text
        return json.loads((await browser.get("/?table=books&format=json")).text)

    books = browse(Source(newer, "test", clock=lambda: NOW), read)
    assert {one["surplus"]["wei"] for one in books} == {"0"}
    assert any(int(one["owed"]["wei"]) > int(one["held"]["wei"]) for one in books)


def test_downloads_are_whole_and_exact(source: Source) -> None:
    async def read(browser: Browser) -> tuple[Any, Any]:
        as_json = await browser.get(f"/user/{USER}?table=settled&format=json")
        as_csv = await browser.get(f"/user/{USER}?table=settled&format=csv")
        assert as_json.headers["Content-Type"] == "application/json"
        assert as_csv.headers["Content-Disposition"] == 'attachment; filename="settled.csv"'
        return json.loads(as_json.text), list(csv.DictReader(io.StringIO(as_csv.text)))

    entries, lines = browse(source, read)
    with reading(source.index) as reader:
        number = Lists(reader).count_settled(user_address=USER)
        newest = Lists(reader).settled("time", True, 0, 1, user_address=USER)[0]
    assert len(entries) == len(lines) == number > 25
    assert entries[0]["paid"] == {"wei": str(newest.paid), "coins": lines[0]["paid_coins"]}
    assert entries[0]["transaction"] == lines[0]["transaction"] == newest.tx
    assert re.fullmatch(r"2026-\d\d-\d\dT\d\d:\d\d:\d\dZ", entries[0]["time"])


def test_a_text_in_csv_is_no_formula() -> None:
    for text in ("=1+1", "+1", "-1", "@A1", "\t=1", "\r=1"):
        assert in_csv(Kind.TEXT, text) == f"'{text}"
    assert in_csv(Kind.AMOUNT, -(10**18)) == "-1"


def test_lists_are_the_same_on_both_databases(location: Location) -> None:
    build(location, Size(4, 12, 120))
    with reading(location) as reader:
        lists, paid = Lists(reader), Paid()
        paid.update(reader)
        found = [
            lists.settled("paid", True, 3, 20, provider=HOSTILE),
            lists.settled("fee", False, 0, 500),
            lists.batches("rows", True, 0, 50),
            lists.accounts(HOSTILE, "balance", True, 0, 50),
            lists.events(True, 5, 30, provider=HOSTILE),
            sorted(lists.users(paid)),
            sorted(paid.providers().items()),
            sorted(lists.accounts_by_provider().items()),
            lists.days(),
            lists.spending(USER),
            lists.active_since(reader.tip().time - 86_400),
            lists.changes(),
            sorted(lists.stakes().items()),
            lists.gas_per_user(),
            sorted(lists.search("0x1"), key=lambda one: (one.kind, one.key)),
        ]
    assert found[7]
    key = "sqlite" if isinstance(location, Path) else "postgresql"
    _FOUND[key] = repr(found)
    assert len(set(_FOUND.values())) == 1


_FOUND: dict[str, str] = {}


def test_sums_are_exact(source: Source) -> None:
    with reading(source.index) as reader:
        lists, sums = Lists(reader), Paid()
        sums.update(reader)
        rows = lists.settled("time", True, 0, 10_000)
        paid = sum(one.paid for one in rows)
        assert paid == sum(one.paid for one in lists.users(sums)) == sum(one[2] for one in lists.days())
        assert paid == sum(one.paid for one in sums.providers().values())
        assert paid == reader.totals().paid
        balances = sum(one.balance for one in reader.accounts(limit=10_000).entries)
        assert balances == sum(one[1] for one in lists.accounts_by_provider().values())


def test_a_users_coins_are_those_of_the_index(source: Source) -> None:
    async def read(browser: Browser) -> str:
        return (await browser.get(f"/user/{USER}")).text

    page = browse(source, read)
    with reading(source.index) as reader:
        ledger = reader.ledger(USER)
    assert ledger is not None
    tree = page.partition('id="money"')[2].partition("</section>")[0]
    amounts = _amounts(tree)
    assert amounts[0] == ledger.total
    assert "locked until" in Document(f"<div>{tree.partition('</header>')[2]}</div>").text


def test_sums_in_memory_follow_the_index(tmp_path: Path) -> None:
    """They read only what is new, and begin again after a reorganisation."""
    index = tmp_path / "index.sqlite"
    build(index, Size(4, 12, 200))
    kept = Paid()
    with sqlite3.connect(index) as db:
        middle = db.execute("SELECT position FROM batch ORDER BY position LIMIT 1 OFFSET 4").fetchone()[0]
        later = {
            table: db.execute(f"SELECT * FROM {table} WHERE position > ?", (middle,)).fetchall()
            for table in ("settlement", "batch")
        }
        for table in later:
            db.execute(f"DELETE FROM {table} WHERE position > ?", (middle,))
    _check_sums(index, kept)
    with sqlite3.connect(index) as db:
        for table, rows in later.items():
            db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    _check_sums(index, kept)
    with sqlite3.connect(index) as db:
        db.execute("DELETE FROM settlement WHERE position > ?", (middle,))
        db.execute("DELETE FROM batch WHERE position > ?", (middle,))
        db.execute("UPDATE meta SET value = '1' WHERE key = 'reorganisations'")
    _check_sums(index, kept)


def _check_sums(index: Path, kept: Paid) -> None:
    fresh = Paid()
    with reading(index) as reader:
        kept.update(reader)
        fresh.update(reader)
    assert kept.providers() == fresh.providers()
    assert [(user, kept.of_user(user)) for user in sorted(kept.users())] == [
        (user, fresh.of_user(user)) for user in sorted(fresh.users())
    ]
