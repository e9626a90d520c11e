# SPDX-License-Identifier: Apache-2.0
"""The configuration file: edits by hand are kept, and mistakes are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving_network.cli.console.home import Home
from serving_network.errors import ConfigurationError, KeyFailure, NotAnAddress, UnknownName
from serving_network.networks import Configuration, NamedNetwork, home, parse_address
from serving_network.wallet.keys import KeyStore

ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"


def test_built_in_networks(tmp_path: Path) -> None:
    names = {one.name: one.chain_id for one in Configuration(tmp_path).networks()}
    assert names == {"local": 31337, "testnet": 16602, "mainnet": 16661}
    assert Configuration(tmp_path).network().name == "local"
    with pytest.raises(ConfigurationError, match="no ledger address") as refused:
        Configuration(tmp_path).network("mainnet").require_ledger()
    assert refused.value.next_step == (
        "serving network add mainnet --ledger ADDRESS (ask the network's owner for it)."
        " To deploy a network of your own: serving deploy plan"
    )


def test_comments_and_order_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('# mine\nnetwork = "local" # for now\n\n[addresses]\n# a friend\nfriend = "' + ADDRESS + '"\n')
    configuration = Configuration(tmp_path)
    configuration.save_network(NamedNetwork("mine", ("https://one", "https://two"), 16602))
    configuration.use_network("mine")
    text = path.read_text()
    assert text.startswith('# mine\nnetwork = "mine" # for now\n')
    assert "# a friend" in text
    again = Configuration(tmp_path)
    assert again.network() == NamedNetwork("mine", ("https://one", "https://two"), 16602)
    assert again.address("friend") == ADDRESS


def test_a_built_in_network_can_be_changed_and_reset(tmp_path: Path) -> None:
    configuration = Configuration(tmp_path)
    (tmp_path / "config.toml").write_text('[networks.testnet]\nurls = "https://own"\n')
    changed = Configuration(tmp_path).network("testnet")
    assert (changed.urls, changed.chain_id) == (("https://own",), 16602)
    configuration = Configuration(tmp_path)
    configuration.remove_network("testnet")
    assert configuration.network("testnet").urls == ("https://evmrpc-testnet.0g.ai",)
    with pytest.raises(UnknownName):
        configuration.remove_network("testnet")


@pytest.mark.parametrize(
    "text",
    [
        "networks = 3\n",
        "[networks.x]\nurls = 1\n",
        "[networks.x]\n",
        '[networks.x]\nurls = "u"\nchain_id = "a"\n',
        "= =",
    ],
)
def test_mistakes_are_reported(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(ConfigurationError) as failure:
        Configuration(tmp_path).network("x")
    assert failure.value.next_step


def test_names_are_suggested(tmp_path: Path) -> None:
    configuration = Configuration(tmp_path)
    configuration.save_address("good-provider", parse_address(ADDRESS))
    with pytest.raises(UnknownName) as failure:
        configuration.address("god-provider")
    assert failure.value.cause == "Did you mean 'good-provider'?"
    assert configuration.name_of(ADDRESS) == "good-provider"
    with pytest.raises(ConfigurationError):
        configuration.save_address("0xabc", parse_address(ADDRESS))
    configuration.remove_address("good-provider")
    assert configuration.addresses() == {}


@pytest.mark.parametrize(
    "text", ["0x12", ADDRESS.swapcase(), ADDRESS[:-1] + "7", "f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"]
)
def test_addresses_are_checked(text: str) -> None:
    with pytest.raises(NotAnAddress):
        parse_address(text)
    assert parse_address(ADDRESS.lower()) == ADDRESS


def test_home(tmp_path: Path) -> None:
    assert home({"SERVING_HOME": str(tmp_path)}) == tmp_path
    assert home({}).name == "serving-network"


def test_a_damaged_key_file_does_not_hide_the_address_book(tmp_path: Path) -> None:
    configuration = Home(tmp_path)
    configuration.save_address("good-provider", parse_address(ADDRESS))
    KeyStore(tmp_path / "keys", scrypt_work=2).create("main", "password").path.write_text("{")
    assert configuration.address("good-provider") == ADDRESS
    assert configuration.name_of(ADDRESS) == "good-provider"
    with pytest.raises(KeyFailure):
        configuration.address("main")


def test_keys_in_use(tmp_path: Path) -> None:
    configuration = Home(tmp_path)
    with pytest.raises(UnknownName):
        configuration.use_key("main")
    key = KeyStore(tmp_path / "keys", scrypt_work=2).create("main", "password")
    configuration.use_key("main")
    assert Home(tmp_path).key_in_use == "main"
    assert configuration.address("main") == key.address
    configuration.use_key(None)
    assert Home(tmp_path).key_in_use is None
