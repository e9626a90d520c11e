# SPDX-License-Identifier: Apache-2.0
"""What only the reader's own machine has: a gateway's store, and a user's receipts."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from serving_network.explorer.web.site import Source, bill_pages, gateway_pages
from tests.explorer.web.conftest import FRIEND, Browser, browse
from tests.explorer.web.document import Document
from tests.explorer.web.own_machine import bills_with_receipts, gateway_state, store_of_gateway
from tests.explorer.web.synthetic import SPELLS, USER


def _gateway_page(source: Source, store: Path, state: Mapping[str, Any] | None) -> str:
    own = gateway_pages(store, lambda: state)

    async def read(browser: Browser) -> str:
        return Document((await browser.get("/gateway")).text).text

    return " ".join(browse(replace(source, own=own), read).split())


def test_the_dashboard_of_a_gateway(source: Source, tmp_path: Path) -> None:
    shown = _gateway_page(source, store_of_gateway(tmp_path / "journal"), gateway_state())
    for words in (
        "Requests 2 of 1 user", "Billed 2 coins", "Not settled 2 coins", "At risk 1.5 coins", "Reserved 3 coins",
        "Refused 1 since the start", "Cut by the client 1", "insufficient_funds", "being drained", "does not answer",
        "chat/completions 3 1,380 ms 100 ms 5,000 ms",
    ):  # fmt: skip
        assert words in shown, words


def test_the_dashboard_without_a_running_gateway(source: Source, tmp_path: Path) -> None:
    shown = _gateway_page(source, store_of_gateway(tmp_path / "journal"), None)
    assert "No gateway runs on this store. serving gateway run" in shown
    assert "At risk 1.5 coins" in shown


def test_every_user_of_the_gateway_who_is_linked_has_a_page(source: Source, tmp_path: Path) -> None:
    """A user who is served without payment has no ledger, no account and no page."""
    store = store_of_gateway(tmp_path / "journal")
    free = "0x" + "9" * 40
    with closing(sqlite3.connect(store)) as db, db:
        db.execute("INSERT INTO account VALUES (?, 1, '0', '0', '0', '0', '0', 7, 0)", (free,))

    async def read(browser: Browser) -> tuple[str, str, dict[str, int]]:
        page, table = await browser.get("/gateway"), await browser.get("/gateway?table=served&format=csv")
        links = [href for one in Document(page.text).all("a") if (href := one.attributes["href"]).startswith("/user/")]
        return page.text, table.text, {link: (await browser.get(link)).status for link in links}

    page, table, statuses = browse(replace(source, own=gateway_pages(store, lambda: None)), read)
    assert free in page
    assert free in table
    assert statuses == {f"/user/{USER}": 200}


def test_no_explorer_has_these_pages_unless_asked(source: Source) -> None:
    async def read(browser: Browser) -> list[int]:
        return [(await browser.get(path)).status for path in ("/gateway", "/bills")]

    assert browse(source, read) == [404, 404]


def test_bills_are_verified_when_asked(source: Source, tmp_path: Path) -> None:
    asked: list[int] = []
    own = bill_pages(bills_with_receipts(tmp_path, asked.append))

    async def read(browser: Browser) -> list[str]:
        paths = ("/bills", f"/bills/{FRIEND}", f"/bills/{FRIEND}?verify=now", "/bills", f"/bills/{USER}")
        return [" ".join(Document((await browser.get(path)).text).text.split()) for path in paths]

    listed, unverified, verified, again, missing = browse(replace(source, own=own), read)
    assert "Spent 2 coins" in listed
    assert SPELLS[0] in listed
    assert "not yet" in listed
    assert "Not verified against the chain yet." in unverified
    assert "Proven up to block 77" in verified
    assert "proven" in again
    assert f"serving bill fetch {USER}" in missing
    assert asked == [2]


def test_a_bill_without_a_settlement_has_nothing_to_prove(source: Source, tmp_path: Path) -> None:
    own = bill_pages(bills_with_receipts(tmp_path, settled=False))

    async def read(browser: Browser) -> str:
        return " ".join(Document((await browser.get(f"/bills/{FRIEND}?verify=now")).text).text.split())

    shown = browse(replace(source, own=own), read)
    assert "Up to block 77 no coin was settled, so there is no payment to prove." in shown
    assert "Proven" not in shown
