# SPDX-License-Identifier: Apache-2.0
"""Keys, networks, addresses, completion and help: what needs no network."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from serving_network.cli.main import app
from serving_network.networks import Configuration, NamedNetwork
from serving_network.wallet.keys import SCRYPT_WORK, KeyStore
from tests import zygote
from tests.cli.conftest import Terminal
from tests.clients.network_fixture import signer


def all_commands() -> Iterator[tuple[str, ...]]:
    """The words of every command."""
    root: Any = get_command(app)
    context = typer.Context(root, info_name="serving")
    for noun in root.list_commands(context):
        _, command, _ = root.resolve_command(context, [noun])
        yield from ((noun, verb) for verb in command.commands) if isinstance(command, TyperGroup) else [(noun,)]


VERBS = sorted(all_commands())
KEY = "0x" + "ab" * 32


@pytest.fixture
def light_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encrypt new keys in a thousandth of the time."""
    monkeypatch.setattr("serving_network.cli.console.home.KeyStore", partial(KeyStore, scrypt_work=2))


@pytest.mark.usefixtures("light_keys")
def test_a_key_from_making_to_removing(lonely: Terminal) -> None:
    made = lonely("key", "new", "main", "--json").json
    assert stat.S_IMODE(Path(made["file"]).stat().st_mode) == 0o600
    assert lonely("key", "show-address").out.strip() == made["address"]
    lonely("key", "new", "main", code=2)
    lonely("key", "new", "other", code=2, SERVING_PASSWORD="short")
    lonely("key", "new", "other", code=4, SERVING_PASSWORD="")
    imported = lonely("key", "import", "second", "--json", stdin=KEY).json
    assert KEY[2:] not in Path(imported["file"]).read_text()
    copied = lonely("key", "import", "third", "--keystore", made["file"], "--json").json
    assert copied["address"] == made["address"]
    lonely("key", "import", "fourth", "--keystore", made["file"], code=4, SERVING_PASSWORD="not the password")
    lonely("key", "import", "fifth", code=4, stdin="not a key")
    lonely("key", "use", "second")
    assert [one["name"] for one in lonely("key", "list", "--json").json if one["in_use"]] == ["second"]
    lonely("key", "remove", "second", code=2)
    lonely("key", "remove", "second", "--yes")
    lonely("key", "show-address", code=4)
    lonely("key", "use", "second", code=3)
    lonely("key", "use", "main")
    lonely("key", "use", code=2)
    lonely("key", "use", "main", "--none", code=2)
    assert lonely("key", "use", "--none", "--json").json == {"name": None}
    lonely("key", "show-address", code=4)


def test_no_key_is_ever_printed(lonely: Terminal, nobody: str) -> None:
    local = Configuration(lonely.home).network("local")
    Configuration(lonely.home).save_network(NamedNetwork("local", (nobody,), local.chain_id, local.ledger))
    told = lonely("key", "import", "main", stdin=KEY)
    stored = json.loads((lonely.home / "keys" / "main.json").read_text())
    assert stored["crypto"]["kdfparams"]["n"] == SCRYPT_WORK == 2**18
    told_more = lonely("ledger", "open", "3", "--yes", code=5, SERVING_PRIVATE_KEY=KEY)
    assert "abab" not in told.out + told.err + told_more.out + told_more.err
    refused = lonely("ledger", "open", "3", "--yes", code=None, SERVING_PRIVATE_KEY=KEY + "zz")
    assert "abab" not in refused.out + refused.err


def test_networks_by_name(lonely: Terminal) -> None:
    lonely("network", "add", "mine", code=2)
    lonely("network", "add", "mine", "--url", "https://me:secret@node.example/key", "--chain-id", "5")
    assert "To use it" not in lonely("network", "add", "local", "--url", "http://127.0.0.1:8545").out
    ledger = signer(1).address
    lonely("network", "add", "mine", "--ledger", ledger)
    shown = lonely("network", "show", "mine", "--json").json
    assert (shown["urls"], shown["chain_id"], shown["ledger"]) == (["https://node.example"], 5, ledger)
    added = ("network", "add", "mine", "--chain-id", "5")
    assert "To use it: serving network use mine" in " ".join(lonely(*added).out.split())
    lonely("network", "use", "mine")
    assert " ".join(lonely(*added).out.split()).endswith("It is in use.")
    assert [one["name"] for one in lonely("network", "list", "--json").json if one["in_use"]] == ["mine"]
    assert "secret" not in lonely("network", "list").out + lonely("network", "show").out
    lonely("network", "use", "yours", code=3)
    lonely("network", "use", "local")
    lonely("network", "remove", "mine", "--yes")
    lonely("network", "show", "mine", code=3)


def test_addresses_by_name(lonely: Terminal) -> None:
    address = signer(1).address
    lonely("address", "add", "friend", address)
    lonely("address", "add", "enemy", address[:-1], code=2)
    assert lonely("address", "list", "--json").json == {"friend": address}
    lonely("address", "remove", "friend", "--yes")
    lonely("address", "remove", "friend", "--yes", code=3)


def test_a_damaged_configuration(lonely: Terminal) -> None:
    (lonely.home / "config.toml").write_text("= broken")
    assert "Fix or remove" in lonely("network", "list", code=3).err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(lonely: Terminal, shell: str) -> None:
    assert "_SERVING_COMPLETE" in lonely("completion", shell).out


def test_completion_offers_nouns_verbs_and_names(lonely: Terminal) -> None:
    lonely("address", "add", "friend", signer(1).address)

    def offered(words: str) -> list[str]:
        variables = {"_SERVING_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        with closing(zygote.Piped([], environment=lonely.variables() | variables)) as process:
            return process.communicate(timeout=600)[0].split()

    assert "ledger" in offered("serving le")
    assert "fund" in offered("serving ledger f")
    assert "friend" in offered("serving ledger fund fr")
    assert "testnet" in offered("serving ledger show --network te")


def options_of(words: tuple[str, ...]) -> set[str]:
    """The long names of a command's options."""
    command: Any = get_command(app)
    context = typer.Context(command, info_name="serving")
    rest = list(words)
    while rest:
        _, command, rest = command.resolve_command(context, rest)
    return {name for one in command.params for name in one.opts if name.startswith("--")}


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_has_help_with_its_options_and_an_example(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*words, "-h"], env={"COLUMNS": "100"})
    assert shown.exit_code == 0
    assert "Example: serving" in " ".join(shown.output.split())
    assert {name for name in options_of(words) if name not in shown.output} == set()
    assert helped(*words, "--help") == helped(*words, "-h")


def helped(*words: str) -> str:
    """The command whose help is shown, without the time that it takes to lay it out."""

    def named(_: Any, context: typer.Context) -> str:
        return f"the help of {context.command_path}"

    with patch.object(TyperCommand, "get_help", named), patch.object(TyperGroup, "get_help", named):
        shown = CliRunner().invoke(app, words).output
    assert shown.startswith("the help of "), shown
    return shown


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_can_print_json(words: tuple[str, ...]) -> None:
    if words in (("completion",), ("artifacts",)):
        return  # they print files, not results
    assert "--json" in options_of(words)


@pytest.mark.parametrize("noun", sorted({words[0] for words in VERBS}))
def test_every_noun_has_help(noun: str) -> None:
    shown = CliRunner().invoke(app, [noun, "-h"], env={"COLUMNS": "100"})
    assert shown.exit_code == 0
    verbs = {words[1] for words in VERBS if words[0] == noun and len(words) > 1}
    assert {verb for verb in verbs if verb not in shown.output} == set()
    assert helped(noun, "--help") == helped(noun, "-h")


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]], ids=" ".join)
def test_the_programs_help_lists_every_noun_by_role_on_one_screen(words: list[str]) -> None:
    lines = CliRunner().invoke(app, words, env={"COLUMNS": "80"}).output.splitlines()
    assert len(lines) < 24  # the last line is the prompt's
    assert max(map(len, lines)) <= 80
    halves = [half for line in lines[1:] for half in (line[:40], line[40:])]
    listed = [half.split()[0] for half in halves if half.startswith("  ") and half.strip()]
    assert sorted(listed) == sorted({words[0] for words in VERBS})
    assert {"Everyone", "Users", "Providers", "Owner and operators", "This machine"} <= {one.strip() for one in halves}


def test_the_programs_help_has_one_column_on_a_narrow_terminal() -> None:
    lines = CliRunner().invoke(app, ["-h"], env={"COLUMNS": "60"}).output.splitlines()
    assert max(len(line) for line in lines if line.startswith("  ")) <= 60
    assert len([line for line in lines if line.startswith("  ")]) == len({words[0] for words in VERBS})


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        ("ledgr show", "ledger"),
        ("evnts", "events"),
        ("ledger shw", "show"),
        ("transaction sow 0x", "show"),
        ("key list --jsn", "--json"),
        ("ledger deposit 1 --dryrun", "--dry-run"),
        ("--versoin", "--version"),
    ],
)
def test_what_is_unknown_is_answered_with_the_nearest(lonely: Terminal, words: str, nearest: str) -> None:
    failed = lonely(*words.split(), code=2)
    assert f"Did you mean {nearest!r}?" in " ".join(failed.err.split())


NETWORKING = ("aiohttp", "eth", "serving_network.chain", "serving_network.clients", "serving_network.localchain")
SIGNING = ("coincurve", "eth_account", "eth_keys", "rlp")
SLOW = ("eth_abi", "eth_utils", "pydantic", "tomlkit")
FOR_TERMINALS = ("rich",)
NOUNS = sorted({words[0] for words in VERBS})


def imported(terminal: Terminal, *commands: str, **environment: str) -> set[str]:
    """The modules that a process has imported after these commands."""
    program = (
        "import atexit, sys; from serving_network.cli.main import app;"
        "atexit.register(lambda: sys.stderr.write(chr(10) + ' '.join(sys.modules)));"
        "[app(one.split(), prog_name='serving', standalone_mode=False) for one in sys.argv[1:]]"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *commands],
        env=terminal.variables() | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return set(ended.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("commands", "unused"),
    [
        (
            ["-h", "--version"],
            NETWORKING + SIGNING + SLOW + FOR_TERMINALS + ("asyncio", "serving_network.cli.console.home"),
        ),
        (["key list", "network list", "address list"], NETWORKING + SIGNING + SLOW + FOR_TERMINALS),
        (["network show"], NETWORKING + SIGNING + SLOW + FOR_TERMINALS),
        ([f"{noun} -h" for noun in NOUNS], NETWORKING + SIGNING + SLOW),
    ],
    ids=["help", "lists", "network show", "NOUN -h"],
)
def test_local_commands_and_help_import_only_what_they_use(
    lonely: Terminal, commands: list[str], unused: tuple[str, ...]
) -> None:
    assert imported(lonely, *commands) & set(unused) == set()


def test_completion_imports_nothing_that_connects_or_signs(lonely: Terminal) -> None:
    lonely("address", "add", "friend", signer(1).address)
    asked = {"_SERVING_COMPLETE": "complete_bash", "COMP_WORDS": "serving ledger fund fr", "COMP_CWORD": "3"}
    assert imported(lonely, "", **asked) & {*NETWORKING, *SIGNING, *SLOW, *FOR_TERMINALS} == set()


def test_a_command_that_reads_imports_nothing_that_signs_or_is_slow(serving: Terminal) -> None:
    assert imported(serving, "service list") & {*SIGNING, *SLOW, *FOR_TERMINALS} == set()


@pytest.mark.parametrize("module", ["clients", "clients.read", "messages.tee_signing", "wallet.local"])
def test_clients_import_only_what_every_client_uses(module: str) -> None:
    program = f"import sys, serving_network.{module}; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600, check=True)
    unused = {"aiohttp", "typer", "eth", "serving_network.localchain", *SIGNING, *SLOW, *FOR_TERMINALS}
    assert set(shown.stdout.split()) & unused == set()


def test_a_failure_in_json(lonely: Terminal) -> None:
    failure = json.loads(lonely("network", "use", "nowhere", "--json", code=3).err)
    assert (failure["error"], failure["exit_code"]) == ("UnknownName", 3)


@pytest.mark.usefixtures("light_keys")
def test_a_variable_that_takes_precedence_is_named(lonely: Terminal) -> None:
    unset = "SERVING_PRIVATE_KEY is set, so commands use its key. To use the key in use: unset SERVING_PRIVATE_KEY\n"
    assert lonely("key", "new", "main", SERVING_PRIVATE_KEY=KEY).err.startswith(unset)
    lonely("key", "new", "other")
    for words in (("use", "main"), ("use", "--none"), ("use", "other"), ("list",)):
        assert lonely("key", *words, SERVING_PRIVATE_KEY=KEY).err == unset
        assert lonely("key", *words).err == ""
    assert "unset SERVING_KEY\n" in lonely("key", "use", "other", SERVING_KEY="main").err
    assert lonely("key", "use", "main", SERVING_KEY="main", SERVING_PRIVATE_KEY=KEY).err == ""
    assert "unset SERVING_NETWORK\n" in lonely("network", "use", "local", SERVING_NETWORK="testnet").err
    assert lonely("network", "use", "local", SERVING_NETWORK="local").err == ""
