# SPDX-License-Identifier: Apache-2.0
"""Commands against what goes wrong: nodes, keys, pipes, impatient people."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest

from serving_network.chain import node
from serving_network.chain.reading import AsyncReader
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.accounts import development_keys
from serving_network.money import WEI_PER_COIN as COIN
from serving_network.networks import Configuration, NamedNetwork
from tests import zygote
from tests.cli.conftest import PASSWORD, Terminal
from tests.cli.test_local_verbs import VERBS
from tests.clients.network_fixture import World

READS = [
    ("ledger", "show"),
    ("ledger", "list"),
    ("account", "show"),
    ("account", "list"),
    ("service", "list"),
    ("service", "show"),
    ("signer", "waiting"),
    ("setting", "show"),
    ("registry", "list"),
    ("earnings",),
    ("events",),
    ("deliverable", "list", "user", "provider"),
    ("token", "list", "provider"),
    ("migrate", "check", "owner"),
]
WRITES = [
    ("ledger", "open", "3"),
    ("ledger", "deposit", "3"),
    ("ledger", "withdraw", "all"),
    ("ledger", "fund", "provider", "1"),
    ("ledger", "retrieve", "--all"),
    ("ledger", "delete"),
    ("account", "acknowledge", "provider"),
    ("service", "remove"),
    ("signer", "confirm", "provider"),
    ("setting", "lock-time", "24"),
    ("registry", "recommend", "inference-v1.0"),
    ("deliverable", "acknowledge", "provider", "task"),
    ("token", "revoke", "provider", "1"),
]


@pytest.mark.parametrize("words", READS + WRITES, ids=" ".join)
def test_no_network(serving: Terminal, nobody: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "FIRST_PAUSE", 0.001)
    use_node(serving, nobody, 31337)
    told = serving(*words, "--json", code=5)
    failure = json.loads(told.err.splitlines()[-1])
    assert failure["error"] == "NodeUnreachable"
    assert failure["cause"] == f"{nobody}: Connection refused"
    assert "serving up" in failure["next_step"]


def test_a_silent_node_is_named_while_it_is_waited_for(serving: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "SILENCE", 0.01)
    monkeypatch.setitem(AsyncReader.open.__func__.__kwdefaults__, "timeout", 0.2)  # type: ignore[attr-defined]
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        use_node(serving, url, 31337)
        said = serving("account", "show", code=5).err
        assert serving("account", "show", "--json", code=5).err.count("\n") == 1
    assert said.startswith(f"Waiting for {url} to answer. Press Ctrl-C to stop.\nError  {url} does not answer.\n")


@pytest.mark.parametrize("words", [READS[0], WRITES[0]], ids=" ".join)
def test_the_wrong_chain(serving: Terminal, served: tuple[World, str], words: tuple[str, ...]) -> None:
    use_node(serving, served[1], 16661)
    told = serving(*words, "--json", code=5)
    assert json.loads(told.err)["error"] == "WrongChain"


def use_node(serving: Terminal, url: str, chain_id: int) -> None:
    configuration = Configuration(serving.home)
    configuration.save_network(NamedNetwork("local", (url,), chain_id, configuration.network("local").ledger))


@pytest.mark.parametrize("words", WRITES, ids=" ".join)
def test_a_locked_key(serving: Terminal, world: World, words: tuple[str, ...]) -> None:
    """What would fail anyway is refused for its own reason, everything else because nobody can give the password."""
    world.provider.register(world.offer())
    world.user.open_ledger(3 * COIN)
    world.user.fund(world.provider.address, COIN)
    key = "provider" if words[0] == "service" else "owner" if words[0] in ("signer", "setting", "registry") else "user"
    result = serving(*words, "--yes", "--json", "--key", key, code=None, SERVING_PASSWORD="")
    refused: dict[tuple[str, ...], str] = {
        ("ledger", "open"): "LedgerExists",
        ("ledger", "delete"): "MustWithdrawAllFundsFirst",
        ("deliverable", "acknowledge"): "AccountNotExists",
    }
    error = refused.get(words[:2], "KeyLocked")
    assert (json.loads(result.err)["error"], result.code) == (error, 4 if error == "KeyLocked" else 7)


def test_a_dry_run_needs_no_password(serving: Terminal) -> None:
    assert "Nothing was sent." in serving("ledger", "open", "3", "--dry-run", SERVING_PASSWORD="").out


def test_a_wrong_password(serving: Terminal) -> None:
    told = serving("ledger", "open", "3", "--yes", "--json", code=4, SERVING_PASSWORD="not this one")
    assert json.loads(told.err)["error"] == "WrongPassword"
    assert "SERVING_PASSWORD" in json.loads(told.err)["next_step"]


def test_no_key_at_all(serving: Terminal) -> None:
    Configuration(serving.home).use_key(None)
    told = serving("ledger", "open", "3", "--yes", "--json", code=4)
    assert json.loads(told.err)["next_step"] == "serving key new NAME"


def test_a_key_from_standard_input_or_the_environment(serving: Terminal, world: World) -> None:
    key = development_keys()[4].to_hex()
    serving("ledger", "open", "3", "--yes", "--key-stdin", stdin=key)
    assert world.user.ledger(world.other_user.address) is not None
    told = serving("account", "show", "--json", SERVING_PRIVATE_KEY=key).json
    assert told["user"] == world.other_user.address


def test_an_unknown_key_and_network(serving: Terminal) -> None:
    assert "serving key list" in serving("ledger", "open", "3", "--key", "nobody", "--yes", code=3).err
    assert "serving network list" in serving("ledger", "list", "--network", "nowhere", code=3).err


@pytest.mark.parametrize("words", [("events",), ("ledger", "list"), ("account", "show")], ids=" ".join)
def test_a_pipe_that_is_closed_early(serving: Terminal, world: World, words: tuple[str, ...]) -> None:
    for amount in range(30):
        world.stranger.deposit(3 * COIN + amount)
    program = subprocess.Popen(
        [sys.executable, "-m", "serving_network", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=serving.variables(),
    )
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.readline()
    program.stdout.close()
    complaints = program.stderr.read()
    program.wait(600)
    program.stderr.close()
    assert complaints == ""
    assert program.returncode == 0


def test_ctrl_c_in_the_middle_of_a_send(serving: Terminal, world: World) -> None:
    world.chain.request("evm_setAutomine", [False])
    try:
        terminal = spawn(serving, "ledger", "open", "3", "--yes")
        while not pending(world.chain, world.user.address):
            assert terminal.isalive()
            time.sleep(0.05)
        terminal.kill(signal.SIGINT)
        terminal.expect(pexpect.EOF)
        terminal.close()
        told = " ".join(terminal.before.split())
        assert terminal.exitstatus == 130
        assert "Interrupted. This transaction was signed and may have been sent: 0x" in told
        transaction = told.partition("sent: ")[2][:66]
        assert f"serving transaction show {transaction}" in told
        assert "waiting" in serving("transaction", "show", transaction).out
        world.chain.request("evm_mine", [])
        assert "done" in serving("transaction", "show", transaction).out
        assert world.user.ledger(world.user.address) is not None
    finally:
        world.chain.request("evm_setAutomine", [True])


def pending(chain: EmbeddedChain, address: str) -> bool:
    waiting, mined = (
        int(chain.request("eth_getTransactionCount", [address, block]), 16) for block in ("pending", "latest")
    )
    return waiting > mined


def spawn(serving: Terminal, *words: str, columns: int = 100) -> zygote.Terminal:
    return zygote.Terminal(
        words,
        environment=serving.variables() | {"TERM": "xterm", "COLUMNS": str(columns)},
        directory=Path.cwd(),
        columns=columns,
    )


def test_asking_before_sending(serving: Terminal, world: World) -> None:
    terminal = spawn(serving, "ledger", "open", "3")
    terminal.expect("opens a ledger for")
    terminal.expect("Continue")
    terminal.sendline("n")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 13
    assert world.user.ledger(world.user.address) is None


def test_ctrl_c_at_a_question_ends_at_once(serving: Terminal, world: World) -> None:
    terminal = spawn(serving, "ledger", "open", "3")
    terminal.expect("Continue")
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert world.user.ledger(world.user.address) is None


def test_the_password_is_asked_for_and_not_shown(serving: Terminal, world: World) -> None:
    serving.environment["SERVING_PASSWORD"] = ""
    terminal = spawn(serving, "ledger", "open", "3", "--yes")
    terminal.expect("Password of the key 'user': ")
    terminal.sendline(PASSWORD)
    terminal.expect("Transaction 0x")
    shown = terminal.before
    terminal.expect(pexpect.EOF)
    assert PASSWORD not in shown + terminal.before
    assert world.user.ledger(world.user.address) is not None


def test_a_wrong_password_is_asked_for_again_after_the_confirmation(serving: Terminal, world: World) -> None:
    serving.environment["SERVING_PASSWORD"] = ""
    terminal = spawn(serving, "ledger", "open", "3")
    terminal.expect("Continue")
    terminal.sendline("y")
    for typed in ("not this one", "nor this one", PASSWORD):
        terminal.expect("Password of the key 'user': ")
        terminal.sendline(typed)
    terminal.expect("Transaction 0x")
    terminal.expect(pexpect.EOF)
    assert world.user.ledger(world.user.address) is not None


def test_three_wrong_passwords_are_enough(serving: Terminal, world: World) -> None:
    serving.environment["SERVING_PASSWORD"] = ""
    terminal = spawn(serving, "ledger", "open", "3", "--yes")
    for _ in range(3):
        terminal.expect("Password of the key 'user': ")
        terminal.sendline("wrong")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 4
    assert world.user.ledger(world.user.address) is None


@pytest.mark.parametrize(
    ("columns", "options", "as_table", "whole"),
    [(30, [], False, True), (70, [], True, False), (70, ["--wide"], False, True), (200, [], True, True)],
)
def test_a_table_that_does_not_fit_has_short_addresses_or_becomes_blocks(
    serving: Terminal, world: World, columns: int, options: list[str], as_table: bool, whole: bool
) -> None:
    world.user.open_ledger(3 * COIN)
    terminal = spawn(serving, "ledger", "list", *options, columns=columns)
    terminal.expect(pexpect.EOF)
    result = re.sub(r"\x1b\[[0-9;]*m", "", terminal.before)
    address = world.user.address
    assert f"user {address if whole else f'{address[:6]}...{address[-4:]}'}" in " ".join(result.split())
    lines = [line.split() for line in result.splitlines()]
    header = ["user", "available", "with", "providers", "total"]
    assert (header in lines) is as_table
    assert (["available", "3", "coins"] in lines) is not as_table


def test_a_pipe_gets_no_colours_and_whole_lines(serving: Terminal, world: World) -> None:
    world.user.open_ledger(3 * COIN)
    told = serving("ledger", "list").out
    assert "\x1b" not in told
    assert f"\n{world.user.address}\t3 coins\t0 coins\t3 coins\n" in told


def test_all_verbs_are_known_here() -> None:
    known = {" ".join(words) for words in VERBS}
    assert {" ".join(words[:2]) for words in READS + WRITES if len(words) > 1} <= known
