# SPDX-License-Identifier: Apache-2.0
"""docs/bills.md, typed into a real terminal: each command prints what the page shows.

With BILLS=write in the environment, the output in the page is updated.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import openai
import pexpect

from serving_network.chain.connection import AsyncConnection
from serving_network.contracts.build.artifacts import ROOT
from serving_network.demo.selling import PROVIDER, TEE, USER, LocalGateway, local_gateway
from serving_network.localchain.accounts import development_keys
from serving_network.networks import Configuration, NamedNetwork
from serving_network.settlement.journal import open_journal
from serving_network.settlement.live import LiveChain
from serving_network.settlement.options import Options
from serving_network.settlement.runner import Settlement
from serving_network.store.opening import identity_of
from serving_network.testing import LocalNetwork, local_network
from serving_network.wallet.keys import KeyStore
from serving_network.wallet.local import LocalTeeSigner
from tests import zygote
from tests.cli.conftest import PASSWORD
from tests.cli.test_walkthroughs import without_chance
from tests.gateway.background import in_background

PAGE = ROOT / "docs" / "bills.md"
SETTLES = "After the provider has settled:"
CHEATS = "Here the provider signed a third receipt, and settled ten times its output fee:"
CODES = {"FAILS": 20, "Not proven.": 9}
COLUMNS = 110


def test_the_page(tmp_path: Path) -> None:
    with local_network() as network, network.served() as url, in_background(local_gateway(url, free_port())) as sold:
        configuration = Configuration(tmp_path)
        local = configuration.network("local")
        configuration.save_network(NamedNetwork("local", (url,), local.chain_id, local.ledger))
        configuration.save_address("good-provider", LocalNetwork.signer(PROVIDER).address)
        KeyStore(tmp_path / "keys", scrypt_work=2).add("user", LocalNetwork.signer(USER), PASSWORD)
        configuration.use_key("user")
        kept = PAGE.read_text()
        played = play(kept, url, sold, tmp_path)
    if os.environ.get("BILLS") == "write":
        PAGE.write_text(played)
    else:
        assert without_chance(played) == without_chance(kept), f"{PAGE} shows other answers"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def play(text: str, url: str, sold: LocalGateway, home: Path) -> str:
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if line == CHEATS:
            answers('chat good-provider "Hello"', home)
            with closing(sqlite3.connect(sold.store)) as connection, connection:
                connection.execute("UPDATE served SET output_fee = output_fee || '0' WHERE sequence = 3")
        if line in (SETTLES, CHEATS):
            asyncio.run(settle(url, sold.store))
        if line.startswith("```"):
            inside = line == "```console"
        if not inside or line.startswith("```"):
            lines.append(line)
        elif line.startswith("$ serving connect"):
            lines += [line, *connected(line.removeprefix("$ serving "), sold.model, home)]
        elif line.startswith("$ "):
            lines += [line, *answers(line.removeprefix("$ serving "), home)]
    return "\n".join(lines) + "\n"


async def settle(url: str, store: Path) -> None:
    tee = LocalTeeSigner(development_keys()[TEE].to_bytes())
    async with await AsyncConnection.open(url) as connection:
        chain = await LiveChain.open(connection, LocalNetwork.signer(PROVIDER))
        with open_journal(store, identity_of(store)) as journal:
            await Settlement(chain, journal, tee, Options(interval=0)).run(None)


def answers(words: str, home: Path) -> list[str]:
    """What the terminal shows for a command. Fails if it ends with another exit code than it should."""
    terminal = start(words, home)
    terminal.expect(pexpect.EOF)
    lines = shown_in(terminal.before, home)
    terminal.close()
    code = next((code for word, code in CODES.items() if any(word in line for line in lines)), 0)
    assert terminal.exitstatus == code, lines
    return lines


def connected(words: str, model: str, home: Path) -> list[str]:
    """What the terminal shows for `serving connect` while an `openai` client asks once."""
    port = str(free_port())
    terminal = start(f"{words} --port {port}", home)
    terminal.expect("Press Ctrl-C to stop.")
    shown = terminal.before + terminal.after
    (key,) = re.findall(r'api_key="([^"]+)"', shown)
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0) as client:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}])
    terminal.expect("tokens")
    shown += terminal.before + terminal.after
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    shown += terminal.before
    terminal.close()
    assert terminal.exitstatus == 0
    return shown_in(shown.replace(port, "3090").replace(key, "local-EXAMPLE"), home)


def start(words: str, home: Path) -> zygote.Terminal:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_")}
    own = {"SERVING_HOME": str(home), "SERVING_PASSWORD": PASSWORD, "TZ": "UTC", "TERM": "xterm", "NO_COLOR": "1"}
    return zygote.Terminal(
        shlex.split(words), environment=kept | own | {"COLUMNS": str(COLUMNS)}, directory=home, columns=COLUMNS
    )


def shown_in(output: str, home: Path) -> list[str]:
    output = re.sub(r"\x1b\[[0-9;]*m", "", output).replace(str(home), "~/.config/serving-network")
    return [line.rstrip() for line in output.splitlines()]
