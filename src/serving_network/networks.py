# SPDX-License-Identifier: Apache-2.0
"""The configuration file: networks and addresses by name, and the network and key in use, in TOML.

    network = "local"                  # the network in use
    key = "main"                       # the key in use

    [networks.mine]
    urls = ["https://node.example", "https://spare.example"]
    chain_id = 16602
    ledger = "0x..."

    [addresses]
    good-provider = "0x..."

The file may be edited by hand: the program keeps its comments and its order.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving_network.addresses import is_checksum_address, is_hex_address, to_checksum_address
from serving_network.chains import LOCAL_CHAIN
from serving_network.errors import ConfigurationError, NotAnAddress, UnknownName
from serving_network.files import SHORT_WAIT, lock, write_whole
from serving_network.untrusted import parse_toml, quoted, reason_of

if TYPE_CHECKING:
    import tomlkit
    from eth_typing import ChecksumAddress

HOME_VARIABLE = "SERVING_HOME"
FILE_NAME = "config.toml"
ENTRIES = ("network", "key", "networks", "addresses")
NETWORK_ENTRIES = ("urls", "chain_id", "ledger")


@dataclass(frozen=True)
class NamedNetwork:
    """A chain with a serving network. `ledger` is the front of its LedgerManager, if it has one."""

    name: str
    urls: tuple[str, ...]
    chain_id: int
    ledger: ChecksumAddress | None = None

    def require_ledger(self) -> ChecksumAddress:
        """The ledger's address. Raises ConfigurationError if the network has none."""
        if self.ledger is None:
            raise ConfigurationError(
                f"The network {self.name!r} has no ledger address.",
                next_step=f"serving network add {self.name} --ledger ADDRESS (ask the network's owner for it)."
                " To deploy a network of your own: serving deploy plan",
            )
        return self.ledger


BUILT_IN = {
    network.name: network
    for network in (
        NamedNetwork(
            "local",
            ("http://127.0.0.1:8545",),
            LOCAL_CHAIN,
            to_checksum_address("0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0"),
        ),
        NamedNetwork("testnet", ("https://evmrpc-testnet.0g.ai",), 16602),
        NamedNetwork("mainnet", ("https://evmrpc.0g.ai",), 16661),
    )
}


def home(environment: Mapping[str, str] = os.environ) -> Path:
    """The directory of the user's configuration and keys: SERVING_HOME, or the system's default directory."""
    chosen = environment.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen)
    import platformdirs

    return platformdirs.user_config_path("serving-network")


class Configuration:
    """The configuration file in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / FILE_NAME
        self._document = self._read()

    @property
    def network_in_use(self) -> str:
        """The name of the network that commands use; "local" by default."""
        return str(self._document.get("network", "local"))

    @property
    def key_in_use(self) -> str | None:
        """The name of the key that commands use."""
        name = self._document.get("key")
        return None if name is None else str(name)

    def networks(self) -> list[NamedNetwork]:
        """The built-in networks and those in the file. An entry in the file overrides a built-in network."""
        names = list(BUILT_IN) + [name for name in self._table("networks") if name not in BUILT_IN]
        return [self.network(name) for name in names]

    def network(self, name: str | None = None) -> NamedNetwork:
        """The network with this name, or the one in use. Raises UnknownName and ConfigurationError."""
        name = name or self.network_in_use
        written = self._table("networks").get(name)
        if written is None:
            if name in BUILT_IN:
                return BUILT_IN[name]
            known = [*BUILT_IN, *self._table("networks")]
            raise UnknownName(
                f"There is no network named {name!r}.", cause=_nearest(name, known), next_step="serving network list"
            )
        return self._parse(name, written)

    def save_network(self, network: NamedNetwork) -> None:
        """Add the network to the file, or replace its entry."""
        import tomlkit

        table = tomlkit.table()
        table["urls"] = list(network.urls)
        table["chain_id"] = network.chain_id
        if network.ledger is not None:
            table["ledger"] = network.ledger
        with self._changing():
            self._writable("networks")[network.name] = table

    def remove_network(self, name: str) -> None:
        """Remove a network's entry from the file. A built-in network returns to its defaults. Raises UnknownName."""
        self._forget("networks", name, "network")

    def use_network(self, name: str) -> NamedNetwork:
        """Set the network in use. Raises UnknownName."""
        network = self.network(name)
        with self._changing():
            self._document["network"] = name
        return network

    def use_key(self, name: str | None) -> None:
        """Set the key in use by name; None for no key."""
        with self._changing():
            if name is None:
                self._document.pop("key", None)
            else:
                self._document["key"] = name

    def addresses(self) -> dict[str, ChecksumAddress]:
        """The address book."""
        try:
            return {name: parse_address(str(text)) for name, text in self._table("addresses").items()}
        except NotAnAddress as error:
            raise ConfigurationError(
                f"The address book in {self.path} cannot be used: {error}",
                cause=error.cause,
                next_step=f"Fix {self.path} and run again.",
            ) from error

    def save_address(self, name: str, address: ChecksumAddress) -> None:
        """Add a name to the address book. Raises ConfigurationError if the name could be mistaken for an address."""
        if name.startswith("0x") or not name.strip():
            raise ConfigurationError(
                f"{name!r} cannot be a name.", next_step="Choose a name that does not start with 0x."
            )
        with self._changing():
            self._writable("addresses")[name] = address

    def remove_address(self, name: str) -> None:
        """Remove a name from the address book. Raises UnknownName."""
        self._forget("addresses", name, "address")

    def address(self, text: str) -> ChecksumAddress:
        """Resolve an address, or a name in the address book.

        Raises NotAnAddress and UnknownName.
        """
        if text.startswith("0x"):
            return parse_address(text)
        known = self.addresses()
        if text not in known:
            known = self.names()
        if text in known:
            return known[text]
        raise UnknownName(
            f"{text!r} is neither an address nor a name in the address book.",
            cause=_nearest(text, list(known)),
            next_step=f"serving address add {text} 0x...",
        )

    def names(self) -> dict[str, ChecksumAddress]:
        """Every name that stands for an address."""
        return self.addresses()

    def name_of(self, address: str) -> str | None:
        """The first name that stands for `address`, or None."""
        for names in (self.addresses, self.names):
            for name, known in names().items():
                if known == address:
                    return name
        return None

    def _read(self) -> MutableMapping[str, Any]:
        """The file for reading, without tomlkit if it is in order: importing it takes longer than most commands."""
        try:
            document = parse_toml(self.path.read_text("utf-8-sig"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            return self._load()
        self._check_names(document, ENTRIES, "")
        return document

    def _load(self) -> tomlkit.TOMLDocument:
        """The file with its comments and its order."""
        import tomlkit
        from tomlkit.exceptions import TOMLKitError

        try:
            document = tomlkit.parse(self.path.read_text("utf-8-sig"))
        except FileNotFoundError:
            return tomlkit.document()
        except (OSError, ValueError, TOMLKitError, RecursionError) as error:
            raise ConfigurationError(
                f"{self.path} cannot be read.", cause=f"{reason_of(error)}.", next_step=f"Fix or remove {self.path}."
            ) from error
        self._check_names(document, ENTRIES, "")
        return document

    def _check_names(self, written: Mapping[str, Any], known: Sequence[str], where: str) -> None:
        """Reject unknown entries: a misspelled entry must not be silently ignored."""
        for name in written:
            if name not in known:
                raise ConfigurationError(
                    f"{self.path} contains an unknown entry{where}: {name!r}.",
                    cause=_nearest(name, list(known)) or f"Known entries: {', '.join(known)}.",
                    next_step=f"Fix {self.path} and run again.",
                )

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Reload the file under its lock and write it back, so that changes by other processes are kept."""
        with lock(self.directory / f".{FILE_NAME}.lock", f"{self.path} is being changed.", wait=SHORT_WAIT):
            self._document = document = self._load()
            yield
            write_whole(self.path, document.as_string())

    def _table(self, name: str) -> Mapping[str, Any]:
        table = self._document.get(name, {})
        if not isinstance(table, Mapping):
            raise ConfigurationError(
                f"{name!r} in {self.path} is not a table.", next_step=f"Fix {self.path} and run again."
            )
        return table

    def _writable(self, name: str) -> Any:
        self._table(name)
        if name not in self._document:
            import tomlkit

            self._document[name] = tomlkit.table()
        return self._document[name]

    def _forget(self, table: str, name: str, what: str) -> None:
        with self._changing():
            if name not in self._table(table):
                raise UnknownName(f"{self.path} has no {what} named {name!r}.", next_step=f"serving {what} list")
            del self._writable(table)[name]

    def _parse(self, name: str, written: Any) -> NamedNetwork:
        base = BUILT_IN.get(name)
        try:
            if not isinstance(written, Mapping):
                raise TypeError("it is not a table")
            self._check_names(written, NETWORK_ENTRIES, f" in the network {name!r}")
            ledger = written.get("ledger", base.ledger if base else None)
            return NamedNetwork(
                name,
                _urls(written.get("urls", base.urls if base else ())),
                _chain_id(written.get("chain_id", base.chain_id if base else None)),
                None if ledger is None else parse_address(str(ledger)),
            )
        except (TypeError, NotAnAddress) as error:
            raise ConfigurationError(
                f"The network {name!r} in {self.path} is incomplete or invalid.",
                cause=f"It needs urls and chain_id ({error}).",
                next_step=f"Fix {self.path}, or run: serving network add {name} --help",
            ) from error


def parse_address(text: str) -> ChecksumAddress:
    """Parse an address that a person wrote. Raises NotAnAddress, also for a wrong checksum."""
    if not is_hex_address(text) or not text.startswith("0x"):
        raise NotAnAddress(f"{quoted(text)} is not an address.", next_step="Write 0x and 40 hexadecimal digits.")
    digits = text.removeprefix("0x")
    if digits not in (digits.lower(), digits.upper()) and not is_checksum_address(text):
        raise NotAnAddress(
            f"The checksum of {text} is wrong.",
            cause="A digit or the case of a letter was changed.",
            next_step="Copy the address again.",
        )
    return to_checksum_address(text)


def _urls(configured: Any) -> tuple[str, ...]:
    urls = (configured,) if isinstance(configured, str) else configured
    if not isinstance(urls, (list, tuple)) or not all(isinstance(url, str) for url in urls):
        raise TypeError("urls must be a string or a list of strings")
    return tuple(str(url) for url in urls)


def _chain_id(configured: Any) -> int:
    if not isinstance(configured, int) or isinstance(configured, bool) or not 0 < configured < 2**64:
        raise TypeError("chain_id must be a whole number")
    return int(configured)


def _nearest(name: str, known: list[str]) -> str | None:
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]!r}?" if close else None
