# SPDX-License-Identifier: Apache-2.0
"""A signed transaction: the raw bytes and the sender are stored, everything else is decoded from them.

    signed = SignedTransaction.decode(raw, sender)

Code that stores the decoded fields as well compares them with `differences` when it loads them. The local chain has a
decoder of its own, because it also accepts access lists and transactions of impersonated senders, which nobody signed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from serving_network.addresses import to_checksum_address
from serving_network.hashing import keccak
from serving_network.signing import CURVE_ORDER, recovered_signer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eth_typing import ChecksumAddress

DYNAMIC_FEE: Final = 2
_LIST: Final = 0xC0
"""The smallest first byte of an RLP list, which is what a legacy transaction is."""


@dataclass(frozen=True)
class SignedTransaction:
    """A signed transaction, which `raw` alone is enough to broadcast. `to` is None if it creates a contract.

    Amounts are in wei. A legacy transaction has one gas price, which is both of its fees; `chain_id` is None if a
    legacy transaction is valid on every chain.
    """

    raw: bytes = field(repr=False)
    sender: ChecksumAddress
    hash: str
    chain_id: int | None
    nonce: int
    to: ChecksumAddress | None
    value: int
    data: bytes = field(repr=False)
    gas: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    legacy: bool

    @classmethod
    def decode(cls, raw: bytes, sender: str | None = None) -> Self:
        """Decode the raw bytes and recover the sender from the signature.

        Raises ValueError for bytes that are not exactly one legacy or EIP-1559 transaction, for a bad signature, and
        for a signature of somebody else than `sender`.
        """
        import rlp

        try:
            decoded = cls(**_legacy(raw) if raw[:1] >= bytes([_LIST]) else _dynamic_fee(raw))
        except (rlp.DecodingError, TypeError) as error:
            raise ValueError(f"not a transaction: {error}") from error
        if sender is not None and sender != decoded.sender:
            raise ValueError(f"a transaction of {decoded.sender}, not of {sender}")
        return decoded

    def differences(self, expected: Mapping[str, Any]) -> list[str]:
        """The names of the fields that are not as expected. A name that is not a field is a difference, too."""
        return [name for name, value in expected.items() if getattr(self, name, ...) != value]


def _dynamic_fee(raw: bytes) -> dict[str, Any]:
    if raw[:1] != bytes([DYNAMIC_FEE]):
        raise ValueError("neither a legacy nor an EIP-1559 transaction")
    import rlp

    items = _fields(rlp.decode(raw[1:]), 12)
    chain_id, nonce, tip, fee, gas, to, value, data, access_list, parity, r, s = items
    if access_list != []:
        raise ValueError("a transaction with an access list")
    signing_hash = keccak(raw[:1] + rlp.encode(items[:9]))
    return _common(raw, nonce, to, value, data, gas) | {
        "sender": _recover(signing_hash, _number(parity), r, s),
        "chain_id": _number(chain_id),
        "max_fee_per_gas": _number(fee),
        "max_priority_fee_per_gas": _number(tip),
        "legacy": False,
    }


def _legacy(raw: bytes) -> dict[str, Any]:
    import rlp

    items = _fields(rlp.decode(raw), 9)
    nonce, price, gas, to, value, data, v, r, s = items
    chain_id, parity = (None, _number(v) - 27) if _number(v) < 35 else divmod(_number(v) - 35, 2)
    signing_hash = keccak(rlp.encode(items[:6] if chain_id is None else [*items[:6], chain_id, b"", b""]))
    return _common(raw, nonce, to, value, data, gas) | {
        "sender": _recover(signing_hash, parity, r, s),
        "chain_id": chain_id,
        "max_fee_per_gas": _number(price),
        "max_priority_fee_per_gas": _number(price),
        "legacy": True,
    }


def _common(raw: bytes, nonce: bytes, to: bytes, value: bytes, data: bytes, gas: bytes) -> dict[str, Any]:
    if not isinstance(data, bytes) or not isinstance(to, bytes) or len(to) not in (0, 20):
        raise ValueError("a transaction with a bad address or bad data")
    return {
        "raw": raw,
        "hash": "0x" + keccak(raw).hex(),
        "nonce": _number(nonce),
        "to": to_checksum_address(to) if to else None,
        "value": _number(value),
        "data": data,
        "gas": _number(gas),
    }


def _fields(items: Any, count: int) -> list[Any]:
    if not isinstance(items, list) or len(items) != count:
        raise ValueError(f"a transaction of this type has {count} fields")
    return items


def _number(item: bytes) -> int:
    if not isinstance(item, bytes) or len(item) > 32 or item[:1] == b"\x00":
        raise ValueError("a transaction with a bad number")
    return int.from_bytes(item)


def _recover(signing_hash: bytes, parity: int, r: bytes, s: bytes) -> ChecksumAddress:
    if parity not in (0, 1) or not 0 < _number(s) <= CURVE_ORDER // 2:
        raise ValueError("a transaction without a valid signature: it is not canonical")
    signature = b"".join(_number(part).to_bytes(32) for part in (r, s)) + bytes([parity])
    signer = recovered_signer(signing_hash, signature)
    if signer is None:
        raise ValueError("a transaction without a valid signature: nobody's key made it")
    return signer
