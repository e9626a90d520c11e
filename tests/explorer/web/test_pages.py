# SPDX-License-Identifier: Apache-2.0
"""Every page: it shows what strangers wrote as text, loads nothing from elsewhere, and can be read by a program."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise

from serving_network.explorer.web.headers import HEADERS
from serving_network.explorer.web.site import Source
from tests.explorer.web.conftest import Browser, browse
from tests.explorer.web.document import Document
from tests.explorer.web.synthetic import HOSTILE, OWNER, PROVIDER, SPELLS

MOST_BYTES = 300_000
ELEMENTS = frozenset(
    {
        "a", "bdi", "body", "br", "button", "circle", "code", "dd", "details", "div", "dl", "dt", "figure", "footer",
        "form", "h1", "h2", "head", "header", "html", "input", "kbd", "label", "li", "link", "main", "meta", "nav", "p",
        "path", "rect", "script", "section", "small", "span", "summary", "svg", "table", "tbody", "td", "th", "thead",
        "time", "title", "tr", "ul",
    }
)  # fmt: skip
HIDDEN = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\x00-\x08\x0b\x0c\x0e-\x1f]")


def test_every_page(source: Source, paths: list[str]) -> None:
    async def check(browser: Browser) -> None:
        linked: set[str] = set()
        for path in paths:
            answer = await browser.get(path)
            assert answer.status == 200, path
            assert len(answer.text) < MOST_BYTES, path
            assert HEADERS.items() <= answer.headers.items(), path
            page = Document(answer.text)
            _check_safe(page, answer.text, path)
            _check_readable(page, path)
            linked |= {one.attributes["href"].partition("#")[0] for one in page.all("a")}
        for path in sorted(_one_of_each_kind(linked)):
            assert (await browser.get(path)).status == 200, path

    browse(source, check)


def _check_safe(page: Document, html: str, path: str) -> None:
    assert {one.tag for one in page.elements} <= ELEMENTS, path
    for one in page.elements:
        for name, value in one.attributes.items():
            assert not name.startswith("on"), (path, one)
            assert name != "style", (path, one)
            if name in ("href", "src", "action"):
                assert value.startswith(("/", "#")), (path, one)
                assert not value.startswith("//"), (path, one)
    assert all("src" in one.attributes and not one.text for one in page.all("script")), path
    assert not HIDDEN.search(html), path


def _check_readable(page: Document, path: str) -> None:
    headings = [int(one.tag[1]) for one in page.all("h1", "h2", "h3")]
    assert headings[0] == 1, path
    assert headings.count(1) == 1, path
    assert all(after - before <= 1 for before, after in pairwise(headings)), path
    for landmark in ("main", "header", "footer"):
        assert page.all(landmark), (path, landmark)
    repeated = [id_ for id_, number in Counter(one.attributes.get("id") for one in page.elements).items() if number > 1]
    assert repeated in ([], [None]), path
    assert all(one.attributes.get("aria-label") for one in page.all("nav")), path
    assert len([one for one in page.all("title") if one.text.strip()]) == 1, path


def _one_of_each_kind(paths: set[str]) -> list[str]:
    """One path for each form, so that a test of links does not load hundreds of users."""
    kinds: dict[str, str] = {}
    for path in sorted(paths):
        if path.startswith("/"):
            kinds[re.sub(r"0x[0-9a-fA-F]+|\d+", "N", path)] = path
    return list(kinds.values())


def test_texts_of_a_hostile_provider_are_shown_as_they_are(source: Source) -> None:
    async def read(browser: Browser) -> str:
        return Document((await browser.get(f"/provider/{HOSTILE}")).text).text

    shown = browse(source, read)
    assert SPELLS[0] in shown
    assert SPELLS[1] in shown
    assert "\\u202egnp.exe \\u2066" in shown
    assert "(4,096 characters)" in shown
    assert "W" * 1_000 not in shown


def test_names_of_the_address_book_are_shown_and_searched(source: Source) -> None:
    async def read(browser: Browser) -> tuple[str, str]:
        listed = Document((await browser.get("/providers")).text)
        found = Document((await browser.get("/search?q=good-prov")).text)
        return listed.text, found.all("title")[0].text

    listed, found = browse(source, read)
    assert "good-provider" in listed
    assert found.startswith("Provider")


def test_pages_that_are_not_there(source: Source) -> None:
    async def check(browser: Browser) -> None:
        for path in (
            "/nothing", "/provider/0x12", "/provider/" + "0x" + "12" * 20, "/user/" + "0x" + "12" * 20,
            "/settlement/1", "/settlement/x", "/settlement/" + "9" * 30, "/transaction/x",
            "/transaction/0x" + "12" * 32,
            "/block/1", "/block/-1", "/contract/" + "0x" + "12" * 20, "/address/" + "0x" + "12" * 20,
            "/static/0/style.css", "/providers?table=nothing&format=csv", "/providers?table=providers&format=exe",
        ):  # fmt: skip
            answer = await browser.get(path)
            assert answer.status == 404, path
            assert HEADERS.items() <= answer.headers.items(), path
            assert "What you can do" in answer.text, path
        long = await browser.get("/search?q=" + "a" * 3_000)
        posted = await browser.get("/providers", method="POST")
        assert (long.status, posted.status) == (414, 405)

    browse(source, check)


def test_only_names_of_this_server_are_served(source: Source) -> None:
    async def check(browser: Browser) -> list[int]:
        return [(await browser.get("/live.json", Host=name)).status for name in (*served, *refused)]

    served = ("127.0.0.1:4000", "localhost:4000", "[::1]:4000", "explorer.example", "EXPLORER.example.")
    refused = (
        "evil.example", "127.0.0.1.evil", "[127.0.0.1]evil", "[::1]evil:80", "evil:127.0.0.1", "127.1", "0x7f000001",
        "evil@127.0.0.1", "127.0.0.1@evil", "localhost.evil", "127.0.0.1:http", "",
    )  # fmt: skip
    answers = browse(source, check, frozenset({"explorer.example"}))
    assert answers == [200] * len(served) + [421] * len(refused)


def test_a_stranger_can_ask_for_anything(source: Source) -> None:
    """Parts of paths and queries that make no sense are not found, or count as not given."""
    spells = (
        "9223372036854775808", "9" * 400, "-1", "1e9", "%00", "%ff%fe", "%ED%A0%80", "%E2%80%AE", "%D9%A3", "0x%25%25",
        "' OR 1=1 --", "..%2f..%2fetc%2fpasswd", "<script>", "%0d%0aSet-Cookie:x=1",
    )  # fmt: skip
    paths = (
        "/provider/{}", "/user/{}", "/settlement/{}", "/transaction/{}", "/block/{}", "/contract/{}", "/address/{}",
        "/search?q={}", "/providers?service={}&sort.providers={}", "/users?page.users={}&page.users={}",
        "/settlements?table={}&format={}", "/static/{}/style.css",
    )  # fmt: skip

    async def check(browser: Browser) -> None:
        for path in paths:
            for spell in spells:
                answer = await browser.get(path.replace("{}", spell))
                assert answer.status in (200, 404), (path, spell)
                assert HEADERS.items() <= answer.headers.items(), (path, spell)
                assert "Set-Cookie" not in answer.headers

    browse(source, check)


def test_static_files_are_kept_by_browsers_and_change_their_address(source: Source) -> None:
    async def check(browser: Browser) -> None:
        page = Document((await browser.get("/")).text)
        files = [one.attributes.get("src") or one.attributes["href"] for one in page.all("script", "link")]
        assert len(files) == 7
        for path in files:
            answer = await browser.get(path)
            assert answer.status == 200, path
            assert "immutable" in answer.headers["Cache-Control"], path
            assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", ""), path

    browse(source, check)


def test_who_may_upgrade_the_ledger_is_shown_and_to_whom_it_is_offered(source: Source) -> None:
    async def read(browser: Browser) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = json.loads((await browser.get("/owners?table=owners&format=json")).text)
        return rows

    found = {one["contract"]: (one["owner"], one["offered"]) for one in browse(source, read)}
    assert found["beacon of ledger"] == (OWNER, PROVIDER)
    assert found["beacon of inference-v1.0"] == (OWNER, None)
    assert found["ledger"] == (OWNER, None)


def test_arguments_of_events_have_units(source: Source) -> None:
    async def check(browser: Browser) -> None:
        path = f"/provider/{PROVIDER}?table=events&format=json"
        rows: list[dict[str, str]] = json.loads((await browser.get(path)).text)
        written = {row["arguments"] for row in rows if row["event"] == "ServiceUpdated"}
        assert "pricePerToken 300 wei, updatedAt 2026-11-18T11:06:40Z" in written

    browse(source, check)
