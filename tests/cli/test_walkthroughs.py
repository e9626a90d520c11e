# SPDX-License-Identifier: Apache-2.0
"""The walkthroughs in the docs, typed into a real terminal: no command in them may fail.

With WALKTHROUGHS=write in the environment, the output in the docs is updated.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pexpect
from eth_utils import keccak

from serving_network.localchain.accounts import development_keys
from serving_network.networks import Configuration, NamedNetwork
from serving_network.testing import local_network
from serving_network.wallet.keys import KeyStore
from serving_network.wallet.local import LocalSigner
from tests import light_keys, zygote
from tests.cli.conftest import PASSWORD

DOCS = Path(__file__).parents[2] / "docs" / "walkthroughs"
STORY = (("provider", 0), ("owner", 0), ("user", 0), ("provider", 1), ("user", 1))
"""The pages by the parts that headings divide them into, in the order in which they are played."""
KEYS = {role: keccak(text=f"walkthrough {role}") for role in ("provider", "tee", "user")}
"""What stands in for the random keys, so that the pages show the same addresses each time."""
COLUMNS = 80


def test_the_walkthroughs(tmp_path: Path) -> None:
    writes = os.environ.get("WALKTHROUGHS") == "write"
    with local_network() as network, network.served() as url:
        configuration = Configuration(tmp_path)
        local = configuration.network("local")
        configuration.save_network(NamedNetwork("local", (url,), local.chain_id, local.ledger))
        pages = {role: parts((DOCS / f"{role}.md").read_text()) for role, _ in STORY}
        (tmp_path / "usage.jsonl").write_text(block("".join(pages["provider"]), "json"))
        offer = block("".join(pages["provider"]), "toml")
        for role, number in STORY:
            kept = pages[role][number]
            played = pages[role][number] = play(kept, tmp_path, offer).replace(url, "http://127.0.0.1:8545")
            if not writes:
                assert without_chance(played) == without_chance(kept), f"{role}.md shows other answers"
        for role, page in pages.items() if writes else ():
            (DOCS / f"{role}.md").write_text("".join(page))


def parts(page: str) -> list[str]:
    return re.split(r"^(?=## )", page, flags=re.MULTILINE)


def block(page: str, language: str) -> str:
    return page.partition(f"```{language}\n")[2].partition("```")[0]


def play(text: str, home: Path, offer: str) -> str:
    """The walkthrough with the answers of this moment. The reader edits what goes into a file until it is `offer`."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = line == "```console"
        if not inside or line.startswith("```"):
            lines.append(line)
        elif line.startswith("$ "):
            lines.append(line)
            command, _, file = line.removeprefix("$ serving ").partition(" > ")
            words = command.split()
            shown = list(answers(words, home))
            if file:
                assert "\n".join(shown).replace("0x...", tee_signer(offer)).strip() == offer.strip()
                (home / file).write_text(offer)
                continue
            if words[:2] == ["key", "new"]:
                shown = exchanged(home, words[2], shown)
            lines += shown
    return "\n".join(lines) + "\n"


def tee_signer(offer: str) -> str:
    return str(tomllib.loads(offer)["tee_signer"])


def exchanged(home: Path, name: str, shown: list[str]) -> list[str]:
    """Exchange a new key for the one of its role. Returns what was shown, with its address."""
    store = KeyStore(home / "keys", scrypt_work=2)
    stored, signer = store.find(name), LocalSigner(KEYS[name])
    store.remove(name)
    store.add(name, signer, PASSWORD)
    return [line.replace(stored.address, signer.address) for line in shown]


def answers(words: list[str], home: Path) -> Iterator[str]:
    """What the terminal shows for this command. Fails when it ends with another exit code than it should."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_")}
    terminal = zygote.Terminal(
        words,
        environment=kept
        | {"TZ": "UTC", "SERVING_HOME": str(home), "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": str(COLUMNS)},
        directory=home,
        columns=COLUMNS,
        function=light_keys.SERVING,
    )
    typed = {
        r"Private key \(not shown\): ": development_keys()[0].to_hex(),
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
    expected = 9 if words[0] == "doctor" and "FAILS" in shown else 0
    assert terminal.exitstatus == expected, shown
    assert PASSWORD not in shown
    shown = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    return (line.rstrip() for line in shown.replace(str(home), "~/.config/serving-network").splitlines())


def without_chance(text: str) -> str:
    """The text without what differs from run to run: digits, hashes, tokens, gas in coins."""
    text = re.sub(r"0x[0-9a-f]{64}|0x[0-9a-f]{4}\.\.\.[0-9a-f]{4}", "HASH", text)
    text = re.sub(r"app-sk-\S+", "TOKEN", text)
    text = re.sub(r"\d[\d.]*", "N", text)
    return re.sub(r"[ \n]+", " ", text)
