# SPDX-License-Identifier: Apache-2.0
"""The walkthroughs in the docs, typed into a real terminal: no command in them may fail.

With WALKTHROUGHS=write in the environment, the output in the docs is updated.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pexpect

from serving_network.localchain.accounts import development_keys
from serving_network.networks import Configuration, NamedNetwork
from serving_network.testing import LocalNetwork, local_network
from serving_network.wallet.keys import KeyStore
from tests import zygote
from tests.cli.conftest import PASSWORD

DOCS = Path(__file__).parents[2] / "docs" / "walkthroughs"
STORY = ("provider", "owner", "user")
ACCOUNTS = {"owner": 0, "provider": 1, "user": 3}
COLUMNS = 110
A_DAY = "A day passes."


def test_the_walkthroughs(tmp_path: Path) -> None:
    with local_network() as network, network.served() as url:
        configuration = Configuration(tmp_path)
        local = configuration.network("local")
        configuration.save_network(NamedNetwork("local", (url,), local.chain_id, local.ledger))
        for role in STORY:
            path = DOCS / f"{role}.md"
            kept = path.read_text()
            (tmp_path / "offer.toml").write_text(toml_in((DOCS / "provider.md").read_text()))
            played = play(kept, role, network, tmp_path).replace(url, "http://127.0.0.1:8545")
            if os.environ.get("WALKTHROUGHS") == "write":
                path.write_text(played)
            else:
                assert without_chance(played) == without_chance(kept), f"{path} shows other answers"


def toml_in(text: str) -> str:
    return text.partition("```toml\n")[2].partition("```")[0]


def play(text: str, role: str, network: LocalNetwork, home: Path) -> str:
    """The walkthrough with the answers of this moment."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if line == A_DAY:
            network.travel(86_400)
        if line.startswith("```"):
            inside = line == "```console"
        if not inside or line.startswith("```"):
            lines.append(line)
        elif line.startswith("$ "):
            lines.append(line)
            lines += answers(line.removeprefix("$ serving "), role, home)
            if line.startswith("$ serving key import"):
                open_quickly(home, role)
    return "\n".join(lines) + "\n"


def open_quickly(home: Path, role: str) -> None:
    """Encrypt the key that was just imported anew with less work, so that opening it takes no second each time."""
    store = KeyStore(home / "keys", scrypt_work=2)
    signer = store.unlock(role, PASSWORD)
    store.remove(role)
    store.add(role, signer, PASSWORD)


def answers(words: str, role: str, home: Path) -> Iterator[str]:
    """What the terminal shows for this command. Fails when it ends with another exit code than it should."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_")}
    terminal = zygote.Terminal(
        words.split(),
        environment=kept
        | {"TZ": "UTC", "SERVING_HOME": str(home), "TERM": "xterm", "NO_COLOR": "1", "COLUMNS": str(COLUMNS)},
        directory=home,
        columns=COLUMNS,
    )
    typed = {
        r"Private key \(not shown\): ": development_keys()[ACCOUNTS[role]].to_hex(),
        r"New password: ": PASSWORD,
        r"Repeat the password: ": PASSWORD,
        r"Password of the key '\w+': ": PASSWORD,
        r"Continue\? \[Y/n\]: ": "y",
    }
    prompts = [*typed, pexpect.EOF]
    shown = ""
    while (found := terminal.expect(prompts)) < len(typed):
        shown += terminal.before + terminal.after
        terminal.sendline(typed[list(typed)[found]])
    shown += terminal.before
    terminal.close()
    expected = 9 if words.startswith("doctor") and "FAILS" in shown else 0
    assert terminal.exitstatus == expected, shown
    assert PASSWORD not in shown
    shown = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    return (line.rstrip() for line in shown.replace(str(home), "~/.config/serving-network").splitlines())


def without_chance(text: str) -> str:
    """The text without what differs from run to run: digits, hashes, tokens, gas in coins."""
    text = re.sub(r"0x[0-9a-f]{64}", "HASH", text)
    text = re.sub(r"Bearer \S+", "TOKEN", text)
    text = re.sub(r"\d[\d.]*", "N", text)
    return re.sub(r"[ \n]+", " ", text)
