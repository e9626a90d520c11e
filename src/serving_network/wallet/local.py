# SPDX-License-Identifier: Apache-2.0
"""Signers whose key is in this process's memory: for wallets, and for TEEs during development.

eth-account and eth-keys are imported only where they are used: their import takes longer than most commands run.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from serving_network.addresses import to_checksum_address
from serving_network.errors import InvalidInput, KeyFailure
from serving_network.hashing import keccak
from serving_network.messages.answer_signatures import text_digest
from serving_network.messages.tee_signing import SignedMessage, tags_digest, typed_digest
from serving_network.signing import CURVE_ORDER, HAS_FAST_SIGNING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eth_account.signers.local import LocalAccount
    from eth_typing import ChecksumAddress

KEY_BYTES: Final = 32


class LocalSigner:
    """A private key in memory. Its representation shows only the address."""

    def __init__(self, private_key: bytes | str) -> None:
        from hexbytes import HexBytes

        try:
            self._key = bytes(HexBytes(private_key))
            self._address = _address_of(self._key)
        except Exception:  # noqa: BLE001 - the libraries' messages could contain the key
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

    @cached_property
    def _account(self) -> LocalAccount:
        from eth_account import Account

        account: LocalAccount = Account.from_key(self._key)
        return account

    @property
    def address(self) -> ChecksumAddress:
        return self._address

    def sign_transaction(self, transaction: Mapping[str, Any]) -> bytes:
        return bytes(self._account.sign_transaction(dict(transaction)).raw_transaction)

    def sign_message(self, message: bytes) -> bytes:
        from eth_account.messages import encode_defunct

        return bytes(self._account.sign_message(encode_defunct(message)).signature)

    def sign_typed_data(self, typed_data: Mapping[str, Any]) -> bytes:
        return bytes(self._account.sign_typed_data(full_message=dict(typed_data)).signature)

    def as_tee_signer(self) -> LocalTeeSigner:
        """The same key as a TEE's, which signs only what a TEE signs."""
        return LocalTeeSigner(self._key)

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
        if not isinstance(key, bytes) or len(key) != KEY_BYTES or not 0 < int.from_bytes(key, "big") < CURVE_ORDER:
            raise InvalidInput("The TEE key is not a private key.", next_step="Use 32 bytes in hexadecimal.")
        self._address = _address_of(key)
        self._sign = _signing(key)

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


def _address_of(key: bytes) -> ChecksumAddress:
    """The address of a private key. Raises various exceptions if it is not one."""
    if HAS_FAST_SIGNING:
        from coincurve import PrivateKey as FastPrivateKey

        if len(key) != KEY_BYTES:  # coincurve accepts shorter keys
            raise ValueError
        public = FastPrivateKey(key).public_key.format(compressed=False)[1:]
    else:
        from eth_keys.datatypes import PrivateKey

        public = PrivateKey(key).public_key.to_bytes()
    return to_checksum_address(keccak(public)[-20:])


def _signing(key: bytes) -> Callable[[bytes], bytes]:
    """Signs a hash of 32 bytes: r, s and the parity, 65 bytes."""
    if HAS_FAST_SIGNING:
        from coincurve import PrivateKey as FastPrivateKey

        fast = FastPrivateKey(key)
        return lambda digest: fast.sign_recoverable(digest, hasher=None)
    from eth_keys.datatypes import PrivateKey

    pure = PrivateKey(key)
    return lambda digest: pure.sign_msg_hash(digest).to_bytes()
