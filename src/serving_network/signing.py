# SPDX-License-Identifier: Apache-2.0
"""What can sign, and what a contract accepts as a signature. No key is here: see `serving_network.wallet`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature, ValidationError

from serving_network.errors import KeyFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eth_typing import ChecksumAddress

CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""The order of secp256k1 (SEC 2, section 2.4.1): a private key is smaller."""


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


class TeeSigner(Protocol):
    """The key that users and the owner confirmed for a provider."""

    @property
    def address(self) -> str:
        """The signer's address, with checksum."""
        ...

    def sign_digest(self, digest: bytes) -> bytes:
        """65 bytes r, s, v over a 32-byte digest: s in the lower half of the order, v 27 or 28."""
        ...


def signed_by(signer: str, digest: bytes, signature: bytes) -> bool:
    """Whether a contract would take `signature` over `digest` as made by the address `signer`.

    Only 65 bytes with v 27 or 28 and s in the lower half of the order can be.
    """
    if len(signature) != 65 or signature[64] not in (27, 28):
        return False
    s = int.from_bytes(signature[32:64], "big")
    if not 0 < s <= CURVE_ORDER // 2 or not 0 < int.from_bytes(signature[:32], "big") < CURVE_ORDER:
        return False
    try:
        recovered = Signature(signature[:64] + bytes([signature[64] - 27])).recover_public_key_from_msg_hash(digest)
    except (BadSignature, ValidationError):
        return False
    return recovered.to_checksum_address() == signer
