# SPDX-License-Identifier: Apache-2.0
"""Signers whose key is in this process's memory: for wallets, and for TEEs during development.

eth-account is imported only to sign: its import takes a second, and most commands sign nothing.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from eth_keys.datatypes import PrivateKey
from hexbytes import HexBytes

from serving_network.errors import InvalidInput, KeyFailure
from serving_network.messages.answer_signatures import text_digest
from serving_network.messages.tee_signing import SignedMessage, tags_digest, typed_digest
from serving_network.signing import CURVE_ORDER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eth_typing import ChecksumAddress

HAS_FAST_SIGNING: Final = find_spec("coincurve") is not None
"""Whether libsecp256k1 is installed. Without it (no wheel for this Python) signing is slower, with the same result."""


class LocalSigner:
    """A private key in memory. Its representation shows only the address."""

    def __init__(self, private_key: bytes | str) -> None:
        from eth_account import Account

        try:
            self._account = Account.from_key(HexBytes(private_key))
        except Exception:  # noqa: BLE001 - eth-account's message could contain the key
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

    def as_tee_signer(self) -> LocalTeeSigner:
        """The same key as a TEE's, which signs only what a TEE signs."""
        return LocalTeeSigner(bytes(self._account.key))

    def encrypt(self, password: str, scrypt_work: int) -> dict[str, Any]:
        """The key as an encrypted keystore (Web3 Secret Storage, version 3); `scrypt_work` is the factor n."""
        keystore: dict[str, Any] = self._account.encrypt(password, kdf="scrypt", iterations=scrypt_work)
        return keystore

    def __repr__(self) -> str:
        return f"LocalSigner({self.address})"


class LocalTeeSigner:
    """A TEE signer with its key in this process's memory. Outside of a TEE, it is for development."""

    def __init__(self, key: bytes) -> None:
        """Raises InvalidInput if `key` is not a secp256k1 key of 32 bytes. The key is never shown."""
        if not isinstance(key, bytes) or len(key) != 32 or not 0 < int.from_bytes(key, "big") < CURVE_ORDER:
            raise InvalidInput("The TEE key is not a private key.", next_step="Use 32 bytes in hexadecimal.")
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

    def sign_typed(self, message: SignedMessage, chain_id: int, contract: str) -> bytes:
        return self._sign_digest(typed_digest(message, chain_id, contract))

    def sign_answer(self, text: str) -> bytes:
        return self._sign_digest(text_digest(text))

    def sign_tags(self, tags: bytes) -> bytes:
        return self._sign_digest(tags_digest(tags))

    def _sign_digest(self, digest: bytes) -> bytes:
        signature = self._sign(digest)
        return signature[:64] + bytes([signature[64] + 27])
