"""Keys, networks, addresses, completion and help: what needs no network."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving_network.cli.main import Serving, app
from serving_network.cli.tree import Noun, Verb
from serving_network.networks import Configuration, NamedNetwork
from tests.cli.conftest import Terminal
from tests.clients.network_fixture import signer

VERBS = sorted(
    (noun, verb) if verb else (noun,)
    for noun, member in Serving.members.items()
    for verb in (member.verbs if isinstance(member, Noun) else [""])
)
KEY = "0x" + "ab" * 32


@pytest.fixture
def lonely(tmp_path: Path) -> Terminal:
    """`serving` in an empty home."""
    return Terminal(tmp_path)


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
    lonely("key", "forget")
    lonely("key", "show-address", code=4)


def test_no_key_is_ever_printed(lonely: Terminal, nobody: str) -> None:
    local = Configuration(lonely.home).network("local")
    Configuration(lonely.home).save_network(NamedNetwork("local", (nobody,), local.chain_id, local.ledger))
    told = lonely("key", "import", "main", stdin=KEY)
    told_more = lonely("ledger", "open", "3", "--yes", code=5, SERVING_PRIVATE_KEY=KEY)
    assert "abab" not in told.out + told.err + told_more.out + told_more.err
    refused = lonely("ledger", "open", "3", "--yes", code=None, SERVING_PRIVATE_KEY=KEY + "zz")
    assert "abab" not in refused.out + refused.err


def test_networks_by_name(lonely: Terminal) -> None:
    lonely("network", "add", "mine", code=2)
    lonely("network", "add", "mine", "--url", "https://me:secret@node.example/key", "--chain-id", "5")
    ledger = signer(1).address
    lonely("network", "add", "mine", "--ledger", ledger)
    shown = lonely("network", "show", "mine", "--json").json
    assert (shown["urls"], shown["chain_id"], shown["ledger"]) == (["https://node.example"], 5, ledger)
    lonely("network", "use", "mine")
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
    assert "Mend or remove" in lonely("network", "list", code=3).err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(lonely: Terminal, shell: str) -> None:
    assert "_SERVING_COMPLETE" in lonely("completion", shell).out


def test_completion_offers_nouns_verbs_and_names(lonely: Terminal) -> None:
    lonely("address", "add", "friend", signer(1).address)

    def offered(words: str) -> list[str]:
        variables = {"_SERVING_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        return lonely.program(code=None, **variables).out.split()

    assert "ledger" in offered("serving le")
    assert "fund" in offered("serving ledger f")
    assert "friend" in offered("serving ledger fund fr")
    assert "testnet" in offered("serving ledger show --network te")


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_has_help_with_an_example(words: tuple[str, ...]) -> None:
    told = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "100"})
    assert told.exit_code == 0
    assert "Example: serving" in " ".join(told.output.split())


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_can_print_json(words: tuple[str, ...]) -> None:
    if words in (("completion",), ("artifacts",)):
        return  # they print files, not results
    told = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "100"})
    assert "--json" in told.output


def test_every_line_of_the_table_is_a_sentence() -> None:
    for member in Serving.members.values():
        for one in (member, *(member.verbs.values() if isinstance(member, Noun) else ())):
            assert isinstance(one, (Verb, Noun))
            assert one.help.endswith(".")


def test_a_failure_in_json(lonely: Terminal) -> None:
    failure = json.loads(lonely("network", "use", "nowhere", "--json", code=3).err)
    assert (failure["error"], failure["exit_code"]) == ("UnknownName", 3)
