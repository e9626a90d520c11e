# SPDX-License-Identifier: Apache-2.0
"""One person's files: the configuration, and the key store beside it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Self

from serving_network.errors import InvalidInput, UnknownName
from serving_network.networks import Configuration, home
from serving_network.wallet.keys import KeyStore

if TYPE_CHECKING:
    from pathlib import Path

    from eth_typing import ChecksumAddress


class Home(Configuration):
    """A configuration with a key store, in which a key's name stands for its address, too."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.keys = KeyStore(directory / "keys")

    @classmethod
    def open(cls) -> Self:
        """The files of the person who runs the program."""
        return cls(home())

    def use_key(self, name: str | None) -> None:
        """Use the key of this name, or with None no key. Raises UnknownName if there is no such key."""
        if name is not None:
            self.keys.find(name)
        super().use_key(name)

    def address(self, text: str) -> ChecksumAddress:
        """As in a configuration. Raises KeyFailure, too, if the key of this name has a file that cannot be read."""
        try:
            return super().address(text)
        except UnknownName:
            with suppress(UnknownName, InvalidInput):
                self.keys.find(text)
            raise

    def check_free(self, name: str) -> None:
        """Raise InvalidInput if a new key cannot have this name: it is invalid, or stands for another address."""
        self.keys.check_free(name)
        if name in self.addresses():
            raise InvalidInput(
                f"{name!r} is a name in the address book.",
                next_step=f"Choose another name for the key, or free this one: serving address remove {name}",
            )

    def save_address(self, name: str, address: ChecksumAddress) -> None:
        """As in a configuration. Raises InvalidInput, too, if a key of another address has this name."""
        if self.names().get(name, address) != address and name not in self.addresses():
            raise InvalidInput(
                f"{name!r} is the name of a key of yours, {self.names()[name]}.",
                cause="One name for two addresses could send coins to the wrong one.",
                next_step=f"Choose another name: serving address add NAME {address}",
            )
        super().save_address(name, address)

    def names(self) -> dict[str, ChecksumAddress]:
        """The address book, and the keys whose names are not in it."""
        book = self.addresses()
        return book | {key.name: key.address for key in self.keys.list() if key.name not in book}
