# SPDX-License-Identifier: Apache-2.0
"""Load keys from encrypted keystores, the environment and standard input: never from an argument, never into a log."""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any
from unicodedata import normalize

from serving_network.addresses import to_checksum_address
from serving_network.errors import InvalidInput, KeyFailure, KeyLocked, UnknownName, WrongPassword
from serving_network.files import write_whole
from serving_network.untrusted import parse_json, printable, reason_of
from serving_network.wallet.local import LocalSigner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from eth_typing import ChecksumAddress

KEY_VARIABLE = "SERVING_PRIVATE_KEY"
PASSWORD_VARIABLE = "SERVING_PASSWORD"  # noqa: S105 - the name of a variable
MOST_WORK = 2**30
SCRYPT_WORK = 2**18  # as in geth and other wallets: about one second
SCRYPT_BLOCK = 8

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class StoredKey:
    """A locked key in the key store."""

    name: str
    address: ChecksumAddress
    path: Path


def _taken(name: str) -> InvalidInput:
    return InvalidInput(f"A key named {name!r} already exists.", next_step="Choose another name: serving key list")


class KeyStore:
    """Keys as encrypted files (Web3 Secret Storage, the format of geth and MetaMask), one file per key, mode 0600."""

    def __init__(self, directory: Path, *, scrypt_work: int = SCRYPT_WORK) -> None:
        self.directory = directory
        self._scrypt_work = scrypt_work

    def list(self) -> list[StoredKey]:
        """All keys, sorted by name. Needs no password. Files that cannot be read are left out: see `unreadable`."""
        return [found for found in self._every() if isinstance(found, StoredKey)]

    def unreadable(self) -> Iterator[KeyFailure]:
        """What is wrong with the other files in the directory."""
        return (found for found in self._every() if isinstance(found, KeyFailure))

    def _every(self) -> Iterator[StoredKey | KeyFailure]:
        for path in sorted(self.directory.glob("*.json")):
            try:
                self._path(path.stem)
                yield self._read(path)[0]
            except KeyFailure as failure:
                yield failure
            except InvalidInput as failure:
                yield KeyFailure(f"The key file {path} has no usable name.", next_step=failure.next_step)

    def find(self, name: str) -> StoredKey:
        """The key with this name. Raises UnknownName."""
        return self._read(self._existing(name))[0]

    def create(self, name: str, password: str) -> StoredKey:
        """Create a new key and store it as `name`. Raises InvalidInput if the name is taken or invalid."""
        return self.add(name, LocalSigner.create(), password)

    def check_free(self, name: str) -> None:
        """Raise InvalidInput if the name is taken or invalid."""
        if self._path(name).exists():
            raise _taken(name)

    def add(self, name: str, signer: LocalSigner, password: str, encrypted: dict[str, Any] | None = None) -> StoredKey:
        """Store a key as `name`. Raises InvalidInput if the name is taken or invalid, or the password is empty.

        `encrypted` is a keystore that the password opens. It is stored as it is, unless less work opens it.
        """
        path = self._path(name)
        if not password:
            raise InvalidInput("The password is empty.", next_step="Choose a password of 8 characters or more.")
        if encrypted is not None and _work(encrypted) >= 128 * SCRYPT_BLOCK * self._scrypt_work:
            keystore = encrypted | {"address": signer.address.removeprefix("0x").lower()}
        else:
            keystore = signer.encrypt(_composed(password), self._scrypt_work)
        try:
            write_whole(path, json.dumps(keystore), new=True)
        except FileExistsError:
            raise _taken(name) from None
        return StoredKey(name, signer.address, path)

    def unlock(self, name: str, password: str) -> LocalSigner:
        """Decrypt a key. Raises UnknownName, WrongPassword, and KeyFailure if other users may read its file."""
        path = self._existing(name)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeyFailure(
                f"Other users may read the key file {path}.",
                cause="Only the owner may have access to a key file (mode 0600).",
                next_step=f"chmod 600 {path}",
            )
        try:
            return decrypt(self._read(path)[1], password, str(path))
        except WrongPassword:
            raise WrongPassword(
                f"The password does not open the key {name!r}.", next_step="Try again, or: serving key list"
            ) from None

    def remove(self, name: str) -> None:
        """Delete the key file. Without a copy, the coins of its address are lost."""
        self._existing(name).unlink()

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"{name!r} cannot name a key.", next_step="Use up to 64 letters, digits, dots, dashes and underscores."
            )
        return self.directory / f"{name}.json"

    def _existing(self, name: str) -> Path:
        path = self._path(name)
        if not path.exists():
            raise UnknownName(f"There is no key named {name!r}.", next_step="serving key list")
        return path

    def _read(self, path: Path) -> tuple[StoredKey, dict[str, Any]]:
        try:
            keystore: dict[str, Any] = parse_json(path.read_bytes())
            if not isinstance(keystore, dict):
                raise TypeError("it is not a JSON object")
            if not keystore.get("address"):
                raise KeyFailure(
                    f"The key file {path} does not say which address it belongs to.",
                    cause="Some wallets write keystores without an address.",
                    next_step=f"Move the file away, then import it: serving key import NAME --keystore {path.name}",
                )
            return StoredKey(
                path.stem, to_checksum_address("0x" + keystore["address"].removeprefix("0x")), path
            ), keystore
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise KeyFailure(
                f"The key file {path} cannot be read.",
                cause=f"{reason_of(error)}.",
                next_step="Restore it from a backup, or remove it if the key is stored elsewhere.",
            ) from error


def decrypt(keystore: Any, password: str, where: str) -> LocalSigner:
    """Decrypt a keystore of this program or another wallet. Raises WrongPassword, and KeyFailure if it is invalid.

    The file sets the work that decryption takes. More than MOST_WORK is refused, because it could exhaust the machine.
    """
    from eth_account import Account

    signer = None
    try:
        if not isinstance(keystore, dict):
            raise TypeError("it is not a JSON object")
        if _work(keystore) > MOST_WORK:
            raise ValueError("decrypting it takes more work than any wallet sets")
        if keystore.get("version") == "3":
            keystore = keystore | {"version": 3}
        for spelling in _spellings(password):
            try:
                signer = LocalSigner(bytes(Account.decrypt(keystore, spelling)))
                break
            except ValueError as error:
                if "MAC" not in str(error):
                    raise
        if signer is None:
            raise WrongPassword(f"The password does not open {where}.", next_step="Try again.")
    except KeyFailure:
        raise
    except Exception as error:
        raise KeyFailure(
            f"{where} is not a keystore that can be decrypted.",
            cause=f"{reason_of(error)}.",
            next_step="Use another file, or restore it from a backup.",
        ) from error
    claimed = str(keystore.get("address") or "").removeprefix("0x").lower()
    if claimed not in ("", signer.address[2:].lower()):
        raise KeyFailure(
            f"{where} claims to hold 0x{printable(claimed)}, but its key is that of {signer.address}.",
            cause="The file was changed, or two files were mixed up.",
            next_step="Restore it from a backup. Send no coins to either address until you know which one is right.",
        )
    return signer


def _spellings(password: str) -> list[str]:
    """The password in every form in which a wallet may have encrypted with it, the usual one first.

    An accented letter is one character or two, depending on the keyboard and the system. Ethers composes passwords
    (NFKC); geth and Foundry take them as typed.
    """
    return list(dict.fromkeys([_composed(password), password, *(normalize(form, password) for form in ("NFC", "NFD"))]))


def _composed(password: str) -> str:
    return normalize("NFKC", password)


def _work(keystore: Any) -> int:
    """The work of decryption: bytes of memory for scrypt, and for pbkdf2 the bytes that take scrypt the same time.

    Raises KeyError, TypeError and other errors if it is not a keystore.
    """
    crypto = next(part for name, part in keystore.items() if name.lower() == "crypto")
    if crypto["cipher"] != "aes-128-ctr":
        raise ValueError(f"its cipher is {printable(crypto['cipher'])}")
    parameters = crypto["kdfparams"]
    if crypto["kdf"] == "scrypt":
        return 128 * abs(int(parameters["n"]) * int(parameters["r"]) * int(parameters["p"]))
    return 50 * abs(int(parameters["c"]))


def key_from_environment(environment: Mapping[str, str] = os.environ) -> LocalSigner | None:
    """The key in SERVING_PRIVATE_KEY, or None. Raises KeyFailure if it is not a private key."""
    text = environment.get(KEY_VARIABLE)
    return LocalSigner(text.strip()) if text else None


def key_from_stream(stream: IO[str]) -> LocalSigner:
    """The key on the first line of `stream`. Raises KeyFailure."""
    return LocalSigner(stream.readline().strip())


def password_from_environment(environment: Mapping[str, str] = os.environ) -> str | None:
    """The password in SERVING_PASSWORD, or None."""
    return environment.get(PASSWORD_VARIABLE) or None


def no_password(name: str) -> KeyLocked:
    """The error if there is no way to ask for the password of the key `name`."""
    return KeyLocked(
        f"The key {name!r} is locked, and there is no terminal to ask for its password.",
        next_step=f"Set {PASSWORD_VARIABLE}, or run the command in a terminal.",
    )
