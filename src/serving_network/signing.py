"""What can sign: a key in memory, a hardware wallet, anything with these three methods.

eth-account is imported where it signs: it takes a second to import, and most commands sign nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from hexbytes import HexBytes

from serving_network.errors import KeyFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eth_typing import ChecksumAddress


class Signer(Protocol):
    """Somebody who signs with the key of `address`. Each method may take long: a person may have to confirm."""

    @property
    def address(self) -> ChecksumAddress:
        """Whose signature it is."""

    def sign_transaction(self, transaction: Mapping[str, Any]) -> bytes:
        """The raw signed transaction, ready to be broadcast, for the fields that eth-account takes."""

    def sign_message(self, message: bytes) -> bytes:
        """personal_sign (EIP-191) of `message`: 65 bytes, r, s, v."""

    def sign_typed_data(self, typed_data: Mapping[str, Any]) -> bytes:
        """EIP-712 signature of the full typed data (types, primaryType, domain, message): 65 bytes, r, s, v."""


class AddressOnly:
    """An address whose key is not at hand, for reading what belongs to it. Whatever asks for a signature fails."""

    def __init__(self, address: ChecksumAddress) -> None:
        self._address = address

    @property
    def address(self) -> ChecksumAddress:
        """Whose address it is."""
        return self._address

    def sign_transaction(self, _: Mapping[str, Any]) -> bytes:
        """Raises KeyFailure."""
        raise self._failure()

    def sign_message(self, _: bytes) -> bytes:
        """Raises KeyFailure."""
        raise self._failure()

    def sign_typed_data(self, _: Mapping[str, Any]) -> bytes:
        """Raises KeyFailure."""
        raise self._failure()

    def _failure(self) -> KeyFailure:
        return KeyFailure(f"The key of {self._address} is not at hand.", next_step="Name the key with --key NAME.")


class LocalSigner:
    """A private key in memory. It shows itself by its address only."""

    def __init__(self, private_key: bytes | str) -> None:
        from eth_account import Account

        try:
            self._account = Account.from_key(HexBytes(private_key))
        except Exception:  # noqa: BLE001 - whatever eth-account says could quote the key
            raise KeyFailure(
                "This is not a private key.",
                cause="A private key is 32 bytes, written as 64 hexadecimal digits.",
                next_step="serving key import NAME",
            ) from None

    @classmethod
    def create(cls) -> LocalSigner:
        """A new key from the system's source of randomness."""
        from eth_account import Account

        return cls(Account.create().key)

    @property
    def address(self) -> ChecksumAddress:
        address: ChecksumAddress = self._account.address
        return address

    def sign_transaction(self, transaction: Mapping[str, Any]) -> bytes:
        return bytes(self._account.sign_transaction(dict(transaction)).raw_transaction)

    def sign_message(self, message: bytes) -> bytes:
        from eth_account.messages import encode_defunct

        return bytes(self._account.sign_message(encode_defunct(message)).signature)

    def sign_typed_data(self, typed_data: Mapping[str, Any]) -> bytes:
        return bytes(self._account.sign_typed_data(full_message=dict(typed_data)).signature)

    def sign_digest(self, digest: bytes) -> bytes:
        """The signature over 32 bytes that are a hash already, as TEEs sign settlements: 65 bytes, r, s, v."""
        return bytes(self._account.unsafe_sign_hash(digest).signature)

    def encrypt(self, password: str, scrypt_work: int) -> dict[str, Any]:
        """The key as an encrypted keystore (Web3 Secret Storage, version 3); `scrypt_work` is the factor n."""
        keystore: dict[str, Any] = self._account.encrypt(password, kdf="scrypt", iterations=scrypt_work)
        return keystore

    def __repr__(self) -> str:
        return f"LocalSigner({self.address})"
