# SPDX-License-Identifier: Apache-2.0
"""`serving explore`: no key comes near it, its commands exist, and it shows a network that changes."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from serving_network.cli import explore
from serving_network.demo.exploring import explored
from serving_network.errors import InvalidInput
from serving_network.explorer.index.opening import Subject, writing
from serving_network.explorer.web.site import Source
from serving_network.money import WEI_PER_COIN
from serving_network.store.opening import JournalFailure
from serving_network.testing import local_network
from tests.docs.commands import fault
from tests.explorer.web.conftest import Browser, browse
from tests.explorer.web.document import Document
from tests.explorer.web.synthetic import CHAIN_ID, LEDGER


def test_no_wallet_is_loaded() -> None:
    program = (
        "import sys, serving_network.cli.main, serving_network.cli.explore, serving_network.explorer.keeping\n"
        "import serving_network.explorer.web.serving, serving_network.chain.reading\n"
        "print([one for one in sys.modules if one.startswith(('serving_network.wallet', 'eth_account'))])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_other_commands_do_not_load_it() -> None:
    program = (
        "import sys, serving_network.cli.main, serving_network.cli.up, serving_network.cli.demo\n"
        "print([one for one in sys.modules if one.startswith(('jinja2', 'serving_network.explorer'))])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("private", [{"journal": "j"}, {"bills_of": LEDGER}])
def test_what_is_private_is_shown_on_this_machine_only(private: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="on this machine only"):
        explore.explore(host="0.0.0.0", **private)  # type: ignore[arg-type]


def test_a_journal_that_is_not_there_is_refused_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_HOME", str(tmp_path))
    with pytest.raises(JournalFailure, match="There is no journal"):
        explore.explore(journal=str(tmp_path / "journal"), follow=False, port=0)


def test_an_empty_index_names_commands_that_exist(tmp_path: Path) -> None:
    index = tmp_path / "index.sqlite"
    with writing(index, Subject(CHAIN_ID, "0x00", LEDGER)):
        pass

    async def read(browser: Browser) -> list[str]:
        answers = [
            await browser.get(path) for path in ("/", "/providers", "/users", "/settlements", "/owners", "/search")
        ]
        assert [one.status for one in answers] == [200] * 6
        assert "No block read yet" in answers[0].text
        return [one.text for page in answers for one in Document(page.text).all("code")]

    commands = browse(Source(index, "test"), read)
    assert len(commands) > 5
    assert [found for one in commands if (found := fault(one)) is not None] == []


def test_without_an_index_it_says_how_to_build_one(tmp_path: Path) -> None:
    async def read(browser: Browser) -> tuple[int, str]:
        answer = await browser.get("/providers")
        return answer.status, answer.text

    status, text = browse(Source(tmp_path / "index.sqlite", "test"), read)
    assert status == 503
    assert "serving index run" in text


def test_a_network_that_changes() -> None:
    """The follower runs beside the pages, whose amounts are those of the contracts."""
    with local_network() as network, network.served() as url:

        async def look() -> tuple[str, str, str]:
            async with explored(url, 0) as explorer, aiohttp.ClientSession(explorer) as http:

                async def text(path: str) -> str:
                    async with http.get(path) as answer:
                        return await answer.text()

                before = await text("/live.json")
                user = network.user(3)
                await asyncio.to_thread(user.open_ledger, 7 * WEI_PER_COIN)
                async with asyncio.timeout(60):
                    while await text("/live.json") == before or str(user.address) not in await text("/users"):
                        await asyncio.sleep(0.05)
                return await text("/users"), await text(f"/address/{user.address}"), await text("/owners")

        users, user, owners = asyncio.run(look())
    assert re.findall(r"= (\d+) wei", users)[:2] == [str(7 * WEI_PER_COIN)] * 2
    assert "7 <span" in user.replace("</span>", " <span", 1) or "7</span>" in user
    assert "inference-v1.0" in owners
