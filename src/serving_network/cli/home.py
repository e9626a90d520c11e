"""What the program keeps for one person: the configuration file, and the key store beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving_network.networks import Configuration
from serving_network.wallet.keys import KeyStore

if TYPE_CHECKING:
    from pathlib import Path

    from eth_typing import ChecksumAddress


class Home(Configuration):
    """A configuration in which the name of a key stands for its address, too."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.keys = KeyStore(directory / "keys")

    def use_key(self, name: str | None) -> None:
        """Make the key of this name the one in use; None for no key. Raises UnknownName if there is no such key."""
        if name is not None:
            self.keys.find(name)
        super().use_key(name)

    def names(self) -> dict[str, ChecksumAddress]:
        """The address book, and the keys whose names it does not use itself."""
        return self.addresses() | {
            key.name: key.address for key in self.keys.list() if key.name not in self.addresses()
        }
