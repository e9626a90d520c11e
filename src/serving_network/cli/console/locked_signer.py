# SPDX-License-Identifier: Apache-2.0
"""A key whose address is known and whose password is not asked for until something is signed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eth_typing import ChecksumAddress

    from serving_network.signing import Signer


class LockedSigner:
    """Signs with the signer that `unlock` returns."""

    def __init__(self, address: ChecksumAddress, unlock: Callable[[], Signer]) -> None:
        self.address = address
        self._unlock = unlock

    def sign_transaction(self, transaction: Mapping[str, Any]) -> bytes:
        return self._unlock().sign_transaction(transaction)

    def sign_message(self, message: bytes) -> bytes:
        return self._unlock().sign_message(message)

    def sign_typed_data(self, typed_data: Mapping[str, Any]) -> bytes:
        return self._unlock().sign_typed_data(typed_data)
