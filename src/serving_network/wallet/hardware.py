# SPDX-License-Identifier: Apache-2.0
"""A Ledger device as a signer. The key never leaves the device, and a person confirms each signature on it.

Requires the extra `serving-network[ledger]`, which installs Ledger's ledgerblue (Apache-2.0). The module implements the
protocol of the device's Ethereum app: four commands, each with a derivation path and data, in chunks of at most 255
bytes.

It is tested against a simulator of this protocol, not against a device.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import rlp

from serving_network.addresses import to_canonical_address, to_checksum_address
from serving_network.errors import ConfigurationError, KeyFailure
from serving_network.untrusted import reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eth_typing import ChecksumAddress

Exchange = Callable[[bytes], bytes]
"""Sends one command to the device and returns its answer, without the status word."""

CLASS = 0xE0
GET_ADDRESS, SIGN_TRANSACTION, SIGN_MESSAGE, SIGN_TYPED_DATA = 0x02, 0x04, 0x08, 0x0C
LONGEST_CHUNK = 255
HARDENED = 0x80000000


class LedgerSigner:
    """The device's key number `number`, at m/44'/60'/number'/0/0, as in Ledger's own wallet."""

    def __init__(self, exchange: Exchange, number: int = 0) -> None:
        self._exchange = exchange
        path = (44 + HARDENED, 60 + HARDENED, number + HARDENED, 0, 0)
        self._path = bytes([len(path)]) + b"".join(struct.pack(">I", index) for index in path)
        answer = self._ask(GET_ADDRESS, self._path)
        start = 1 + answer[0] + 1
        self._address = to_checksum_address("0x" + answer[start : start + 40].decode("ascii"))

    @property
    def address(self) -> ChecksumAddress:
        return self._address

    def sign_transaction(self, transaction: Mapping[str, Any]) -> bytes:
        receiver = transaction["to"]
        to = to_canonical_address(receiver) if receiver else b""
        value, data, chain_id = transaction["value"], transaction["data"], transaction["chainId"]
        if "gasPrice" in transaction:
            fields = [transaction["nonce"], transaction["gasPrice"], transaction["gas"], to, value, data]
            v, r, s = self._sign(SIGN_TRANSACTION, self._path + rlp.encode([*fields, chain_id, 0, 0]))
            first = chain_id * 2 + 35
            parity = (v - first) & 0xFF  # the device returns the lowest byte of v
            return bytes(rlp.encode([*fields, first + parity, r, s]))
        fees = [transaction["maxPriorityFeePerGas"], transaction["maxFeePerGas"]]
        fields = [chain_id, transaction["nonce"], *fees, transaction["gas"], to, value, data, []]
        v, r, s = self._sign(SIGN_TRANSACTION, self._path + b"\x02" + rlp.encode(fields))
        return b"\x02" + bytes(rlp.encode([*fields, v, r, s]))

    def sign_message(self, message: bytes) -> bytes:
        return _joined(*self._sign(SIGN_MESSAGE, self._path + struct.pack(">I", len(message)) + message))

    def sign_typed_data(self, typed_data: Mapping[str, Any]) -> bytes:
        from eth_account.messages import encode_typed_data

        hashed = encode_typed_data(full_message=dict(typed_data))
        return _joined(*self._sign(SIGN_TYPED_DATA, self._path + hashed.header + hashed.body))

    def __repr__(self) -> str:
        return f"LedgerSigner({self.address})"

    def _sign(self, command: int, data: bytes) -> tuple[int, int, int]:
        answer = self._ask(command, data)
        if len(answer) != 65:
            raise KeyFailure("The device did not return a signature.", next_step="Try again.")
        return answer[0], int.from_bytes(answer[1:33], "big"), int.from_bytes(answer[33:], "big")

    def _ask(self, command: int, data: bytes) -> bytes:
        answer = b""
        for start in range(0, len(data), LONGEST_CHUNK):
            chunk = data[start : start + LONGEST_CHUNK]
            answer = self._exchange(bytes([CLASS, command, 0x80 if start else 0, 0, len(chunk)]) + chunk)
        return answer


def connected_ledger(number: int) -> LedgerSigner:
    """Key `number` of the Ledger device connected by USB. Raises ConfigurationError and KeyFailure."""
    try:
        from ledgerblue.comm import getDongle
        from ledgerblue.commException import CommException
    except ImportError:
        raise ConfigurationError(
            "Support for Ledger devices is not installed.", next_step='pip install "serving-network[ledger]"'
        ) from None

    def exchange(command: bytes) -> bytes:
        try:
            return bytes(device.exchange(command))
        except CommException as error:
            raise KeyFailure(
                "The device refused the command.",
                cause=f"Status {error.sw:#06x}: declined on the device, device locked, or Ethereum app not open.",
                next_step="Unlock the device, open its Ethereum app, then try again.",
            ) from error

    try:
        device = getDongle(debug=False)
    except (CommException, OSError) as error:
        raise KeyFailure(
            "No Ledger device was found.",
            cause=f"{reason_of(error)}.",
            next_step="Connect and unlock it, then try again.",
        ) from error
    return LedgerSigner(exchange, number)


def _joined(v: int, r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([v])
