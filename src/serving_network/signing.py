# SPDX-License-Identifier: Apache-2.0
"""The protocol of wallets' signers, and the check of a signature. Keys are in `serving_network.wallet`.

What TEEs sign is in `serving_network.messages.tee_signing`.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Protocol

from serving_network.addresses import to_checksum_address
from serving_network.errors import KeyFailure
from serving_network.hashing import keccak

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eth_typing import ChecksumAddress

CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""The order of secp256k1 (SEC 2, section 2.4.1): a private key is smaller."""

HAS_FAST_SIGNING: Final = find_spec("coincurve") is not None
"""Whether libsecp256k1 is installed. Without it (no wheel for this Python) signing is slower, with the same result."""


class Signer(Protocol):
    """Signs with the key of `address`. Each method may block for a while, because a person may have to confirm."""

    @property
    def address(self) -> ChecksumAddress:
        """The address whose key signs."""

    def sign_transaction(self, transaction: Mapping[str, Any]) -> bytes:
        """The raw signed transaction, ready to be broadcast, for the fields that eth-account takes."""

    def sign_message(self, message: bytes) -> bytes:
        """personal_sign (EIP-191) of `message`: 65 bytes, r, s, v."""

    def sign_typed_data(self, typed_data: Mapping[str, Any]) -> bytes:
        """EIP-712 signature of the full typed data (types, primaryType, domain, message): 65 bytes, r, s, v."""


class AddressOnly:
    """An address without its key, for reading only. Every attempt to sign fails."""

    def __init__(self, address: ChecksumAddress) -> None:
        self._address = address

    @property
    def address(self) -> ChecksumAddress:
        """The address."""
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
        return KeyFailure(f"The key of {self._address} is not available.", next_step="Name the key with --key NAME.")


def signed_by(signer: str, digest: bytes, signature: bytes) -> bool:
    """Whether a contract would accept `signature` as the signature of `signer` over `digest`.

    A valid signature has 65 bytes, v 27 or 28, and s in the lower half of the curve order.
    """
    if len(signature) != 65 or signature[64] not in (27, 28):
        return False
    s = int.from_bytes(signature[32:64], "big")
    if not 0 < s <= CURVE_ORDER // 2 or not 0 < int.from_bytes(signature[:32], "big") < CURVE_ORDER:
        return False
    return recovered_signer(digest, signature) == signer


def recovered_signer(digest: bytes, signature: bytes) -> ChecksumAddress | None:
    """The address whose key made `signature` (r, s, v; v 0, 1, 27 or 28) over `digest`, None if there is none."""
    if len(signature) != 65 or signature[64] not in (0, 1, 27, 28):
        return None
    public_key = recovered_public_key(digest, signature[:64] + bytes([signature[64] % 27]))
    return None if public_key is None else to_checksum_address(keccak(public_key)[-20:])


def recovered_public_key(digest: bytes, signature: bytes) -> bytes | None:
    """The public key (64 bytes) that made `signature` (r, s and the parity, 65 bytes), None if there is none."""
    if HAS_FAST_SIGNING:
        from coincurve import PublicKey

        try:
            return PublicKey.from_signature_and_message(signature, digest, hasher=None).format(compressed=False)[1:]
        except ValueError:
            return None
    from eth_keys.datatypes import Signature
    from eth_keys.exceptions import BadSignature, ValidationError

    try:
        return Signature(signature).recover_public_key_from_msg_hash(digest).to_bytes()
    except (BadSignature, ValidationError):
        return None
