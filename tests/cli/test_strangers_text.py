# SPDX-License-Identifier: Apache-2.0
"""Texts of strangers in the output of every command that shows some: none begins a line, moves or turns others."""

from __future__ import annotations

import json
import logging

import pytest

from serving_network.cli import connect
from serving_network.cli.console.output import Output
from serving_network.errors import ServingError
from serving_network.money import WEI_PER_COIN as COIN
from serving_network.untrusted import printable, printable_json
from tests.cli.conftest import Terminal
from tests.cli.test_local_verbs import VERBS
from tests.clients.network_fixture import World

FORGED = "FORGED"
HOSTILE = f"m\n{FORGED}  yes, by the owner\r{FORGED}\x1b[2J\x9b1A\u202e\u2066\u2028{FORGED}\x85{FORGED}\t{FORGED}"

# Their arguments, if they show what strangers wrote.
WALKED = {
    "account list": "",
    "account show": "{provider}",
    "bill fetch": "{provider}",
    "bill show": "{provider}",
    "bill verify": "{provider}",
    "chat": "{provider} hello",
    "deliverable list": "{provider}",
    "doctor": "",
    "earnings": "{provider}",
    "events": "",
    "ledger fund": "{provider} 1 --dry-run",
    "ledger list": "",
    "ledger show": "{stranger}",
    "registry list": "",
    "service list": "--service fine-tuning",
    "service show": "{provider} --service fine-tuning",
    "service update": "--set model=other --dry-run --key provider",
    "service verify": "{provider}",
    "settlement books": "--key provider",
    "signer confirm": "{provider} --key owner --dry-run",
    "signer review": "{provider} --key owner",
    "signer waiting": "--key owner",
    "status": "",
    "transaction show": "{transaction}",
}
INFERENCE = ("service list", "service show {provider}", "events --about {provider}")


def hostile_network(world: World) -> dict[str, str]:
    """A network of people who write lines of the output into every text that they may; what commands name."""
    texts = {"url": f"http://127.0.0.1:9/{HOSTILE}", "model": HOSTILE, "additional_info": HOSTILE}
    registered = world.provider.register(world.offer(**texts, verifiability=HOSTILE))
    hostile = world.fine_tuning_offer(url=texts["url"], models=(HOSTILE, HOSTILE))
    world.provider.register(hostile, service="fine-tuning")
    world.user.open_ledger(10 * COIN)
    world.user.fund(world.provider.address, 2 * COIN)
    world.stranger.open_ledger(10 * COIN, HOSTILE)
    return {
        "provider": world.provider.address,
        "stranger": world.stranger.address,
        "transaction": registered.transaction_hash,
    }


def test_texts_of_strangers_stay_within_their_line(serving: Terminal, world: World) -> None:
    named = hostile_network(world)
    assert {" ".join(words) for words in VERBS} >= WALKED.keys()
    shown = 0
    for command in (*(f"{verb} {words}" for verb, words in WALKED.items()), *INFERENCE):
        result = serving(*command.format(**named).split(), code=None)
        printed = result.out + result.err
        assert result.code != 1, command
        assert [one for one in printed if not one.isprintable() and one not in "\n\t"] == [], command
        assert [line for line in printed.split("\n") if line.startswith(FORGED)] == [], command
        assert f"\t{FORGED}" not in printed, command
        shown += FORGED in printed
    assert shown >= 8


def test_an_error_cannot_contain_another(capsys: pytest.CaptureFixture[str]) -> None:
    Output().failure(ServingError(HOSTILE, cause=HOSTILE, next_step=HOSTILE))
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["Error", "Why", "Next"]


def test_a_warning_cannot_contain_another() -> None:
    record = logging.makeLogRecord({"msg": "%s failed", "args": (HOSTILE,), "levelname": "WARNING"})
    assert connect._OneLine("%(levelname)s %(message)s").format(record).isprintable()


def test_an_argument_of_an_event_cannot_look_like_two(serving: Terminal, world: World) -> None:
    world.provider.register(world.offer(model="m  confirmed=yes", url="http://one.example"))
    (line,) = [one for one in serving("events").out.splitlines() if "model=" in one]
    assert 'model="m  confirmed=yes"' in line
    assert "url=http://one.example" in line


def test_printable_shows_what_it_does_not_print() -> None:
    assert printable(HOSTILE[:3]) == "m\\nF"
    assert printable("\x1b[0m\u202e\u3000\ud800\x00") == "\\x1b[0m\\u202e \\ud800\\x00"
    assert printable("héllo ✓ 你好") == "héllo ✓ 你好"
    assert printable("a\n\tb\r", keep="\n\t") == "a\n\tb\\r"
    assert printable("x" * 501) == "x" * 500 + "..."
    assert printable("x" * 501, most=None) == "x" * 501


def test_json_for_people_to_read_has_escapes_and_the_same_values() -> None:
    text = f"{HOSTILE}\ud800 größer 😀 \U000e0001"
    written = printable_json({text: [text]})
    assert written.isprintable()
    assert "größer 😀" in written
    assert json.loads(written) == {text: [text]}
