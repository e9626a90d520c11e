# SPDX-License-Identifier: Apache-2.0
"""What only the reader's own machine has: a gateway's store, and a user's receipts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from serving_network.clients.bills.verdict import Verdict
from serving_network.explorer.web.pages.bills import Bills
from serving_network.explorer.web.site import Source, bill_pages, gateway_pages
from serving_network.gateway.metrics import Metrics
from serving_network.messages.receipts import Disclosure, Ending, Receipt, SignedReceipt
from serving_network.messages.receipts import Source as Counted
from serving_network.store.bills import BillIdentity, open_bill
from serving_network.store.opening import Identity, connected
from tests.explorer.web.conftest import FRIEND, Browser, browse
from tests.explorer.web.document import Document
from tests.explorer.web.synthetic import CHAIN_ID, INFERENCE, NOW, SPELLS, USER

COIN = 10**18


def _store(path: Path) -> Path:
    """A gateway's store: one user, two requests of one coin, one of them cut, and half a coin of balance."""
    with connected(path, Identity(CHAIN_ID, "0x00", INFERENCE, FRIEND)) as db:
        db.execute(
            "INSERT INTO account VALUES (?, 2, ?, '0', ?, '0', '0', 7, 0)", (USER, str(2 * COIN), str(COIN // 2))
        )
        for number, ending in ((1, Ending.COMPLETE), (2, Ending.CUT_BY_CLIENT)):
            row = (
                number, bytes([number]) * 32, USER, number, "0", 255, "model", str(COIN // 2), str(COIN // 2), "1", "1",
                1, 0, 1, 0, ending, NOW - number, b"", b"", b"", 1, None, FRIEND, b"", b"", b"",
            )  # fmt: skip
            db.execute(f"INSERT INTO served VALUES ({', '.join('?' * len(row))})", row)
        db.commit()
    return path


def _state() -> dict[str, Any]:
    """What a gateway says of itself, in the form that `serving gateway status` gets."""
    metrics = Metrics()
    for seconds in (0.07, 0.07, 4.0):
        metrics.answered("chat/completions", 200, seconds, paid=True)
    metrics.refused("insufficient_funds")
    server = {"url": "http://127.0.0.1:8000", "available": False, "under_way": 1, "failures": 3}
    return {
        "started": NOW - 3_600, "draining": True, "under_way": 1, "reserved": str(3 * COIN), "model_servers": [server],
        **metrics.as_json(),
    }  # fmt: skip


def _gateway_page(source: Source, store: Path, state: Mapping[str, Any] | None) -> str:
    own = gateway_pages(store, lambda: state)

    async def read(browser: Browser) -> str:
        return Document((await browser.get("/gateway")).text).text

    return " ".join(browse(replace(source, own=own), read).split())


def test_the_dashboard_of_a_gateway(source: Source, tmp_path: Path) -> None:
    shown = _gateway_page(source, _store(tmp_path / "journal"), _state())
    for words in (
        "Requests 2 of 1 users", "Billed 2 coins", "Not settled 2 coins", "At risk 1.5 coins", "Reserved 3 coins",
        "Refused 1 since the start", "Cut by the client 1", "insufficient_funds", "being drained", "does not answer",
        "chat/completions 3 1,380 ms 100 ms 5,000 ms",
    ):  # fmt: skip
        assert words in shown, words


def test_the_dashboard_without_a_running_gateway(source: Source, tmp_path: Path) -> None:
    shown = _gateway_page(source, _store(tmp_path / "journal"), None)
    assert "No gateway runs on this store. serving gateway run" in shown
    assert "At risk 1.5 coins" in shown


def test_no_explorer_has_these_pages_unless_asked(source: Source) -> None:
    async def read(browser: Browser) -> list[int]:
        return [(await browser.get(path)).status for path in ("/gateway", "/bills")]

    assert browse(source, read) == [404, 404]


def _receipt(sequence: int, model: str) -> SignedReceipt:
    receipt = Receipt(
        bytes([sequence]) * 32, FRIEND, USER, 255, sequence, (sequence - 1) * COIN, COIN // 4, 3 * COIN // 4, 1, 1, 10,
        0, 20, Counted.USAGE, Ending.COMPLETE, NOW, bytes(32),
    )  # fmt: skip
    return SignedReceipt(receipt, CHAIN_ID, INFERENCE, bytes(65), Disclosure(model, bytes(32), bytes(32), bytes(32), 1))


def test_bills_are_verified_when_asked(source: Source, tmp_path: Path) -> None:
    identity = BillIdentity(CHAIN_ID, INFERENCE, FRIEND, USER)
    with open_bill(tmp_path / identity.file_name, identity) as bill:
        bill.add([_receipt(1, "llama"), _receipt(2, SPELLS[0])])
    asked: list[int] = []

    def verify(_: BillIdentity, receipts: Sequence[SignedReceipt]) -> Verdict:
        asked.append(len(receipts))
        return Verdict(77, 2, 2 * COIN, (), (), (), 0, 0)

    own = bill_pages(Bills(tmp_path, CHAIN_ID, USER, verify))

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
