"""Who signs settlements: the TEE of a provider, or in development a local key.

A signer is asked for one thing only, the signature over a digest, so that an enclave, a remote service or a
hardware module can take the place of the local key.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Final, Protocol

from eth_keys.datatypes import PrivateKey, Signature
from eth_keys.exceptions import BadSignature, ValidationError

from serving_network.errors import InvalidInput

HAS_FAST_SIGNING: Final = find_spec("coincurve") is not None
"""Whether libsecp256k1 is there. Without it (no wheel for this Python) signing is slower, with the same result."""

_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class TeeSigner(Protocol):
    """The key that users and the owner confirmed for a provider."""

    @property
    def address(self) -> str:
        """The signer's address, with checksum."""
        ...

    def sign_digest(self, digest: bytes) -> bytes:
        """65 bytes r, s, v over a 32-byte digest: s in the lower half of the order, v 27 or 28."""
        ...


class LocalTeeSigner:
    """A signer for development: the key lies in this process's memory."""

    def __init__(self, key: bytes) -> None:
        """Raises InvalidInput if `key` is not a secp256k1 key of 32 bytes. The key is never shown."""
        if not isinstance(key, bytes) or len(key) != 32 or not 0 < int.from_bytes(key, "big") < _ORDER:
            raise InvalidInput("The TEE key is not a private key.", next_step="Give 32 bytes in hexadecimal.")
        pure = PrivateKey(key)
        self._address: str = pure.public_key.to_checksum_address()
        self._sign: Callable[[bytes], bytes] = lambda digest: pure.sign_msg_hash(digest).to_bytes()
        if HAS_FAST_SIGNING:
            from coincurve import PrivateKey as FastPrivateKey

            fast = FastPrivateKey(key)
            self._sign = lambda digest: fast.sign_recoverable(digest, hasher=None)

    def __repr__(self) -> str:
        return f"LocalTeeSigner({self._address})"

    @property
    def address(self) -> str:
        return self._address

    def sign_digest(self, digest: bytes) -> bytes:
        if len(digest) != 32:
            raise InvalidInput(f"A digest has 32 bytes, not {len(digest)}.")
        signature = self._sign(digest)
        return signature[:64] + bytes([signature[64] + 27])


def signed_by(signer: str, digest: bytes, signature: bytes) -> bool:
    """Whether a contract would take `signature` over `digest` as made by the address `signer`.

    Only 65 bytes with v 27 or 28 and s in the lower half of the order can be.
    """
    if len(signature) != 65 or signature[64] not in (27, 28):
        return False
    s = int.from_bytes(signature[32:64], "big")
    if not 0 < s <= _ORDER // 2 or not 0 < int.from_bytes(signature[:32], "big") < _ORDER:
        return False
    try:
        recovered = Signature(signature[:64] + bytes([signature[64] - 27])).recover_public_key_from_msg_hash(digest)
    except (BadSignature, ValidationError):
        return False
    return recovered.to_checksum_address() == signer
