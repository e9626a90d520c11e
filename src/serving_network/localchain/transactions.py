# SPDX-License-Identifier: Apache-2.0
"""Decode raw transactions and recover their sender; encode and sign new ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import rlp
from eth_keys.datatypes import PrivateKey
from eth_keys.exceptions import BadSignature, ValidationError

from serving_network.errors import RpcError
from serving_network.hashing import keccak
from serving_network.signing import recovered_public_key

INVALID_INPUT = -32000
LEGACY, ACCESS_LIST, DYNAMIC_FEE = TYPES = 0, 1, 2
HALF_CURVE_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0

AccessList = tuple[tuple[bytes, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class DecodedTransaction:
    """A signed transaction. Fees are in wei per gas; a legacy gas price is in both fee fields.

    `to` is None if a contract is created. `chain_id` is None in a legacy transaction that is not bound to a chain.
    `raw` is the transaction as sent, and `hash` is its keccak hash.
    """

    type: int
    chain_id: int | None
    nonce: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    gas: int
    to: bytes | None
    value: int
    data: bytes
    access_list: AccessList
    v: int
    r: int
    s: int
    sender: bytes
    raw: bytes
    hash: bytes

    def effective_gas_price(self, base_fee: int) -> int:
        """The price that the sender pays in a block with this base fee, in wei per gas."""
        return min(self.max_fee_per_gas, base_fee + self.max_priority_fee_per_gas)

    def effective_tip(self, base_fee: int) -> int:
        """The tip that the block proposer receives, in wei per gas; negative if the base fee is not covered."""
        return min(self.max_priority_fee_per_gas, self.max_fee_per_gas - base_fee)

    @property
    def cost(self) -> int:
        """The balance that the sender must have, in wei: the value plus all gas at the maximum fee."""
        return self.gas * self.max_fee_per_gas + self.value


def decode_transaction(raw: bytes, sender: bytes | None = None) -> DecodedTransaction:
    """Decode a raw transaction of type 0, 1 or 2 and recover its sender.

    If `sender` is given, the signature is not checked. Raises RpcError if `raw` is not exactly one valid transaction.
    """
    if not raw:
        raise RpcError(INVALID_INPUT, "typed transaction too short")
    try:
        if raw[0] >= 0xC0:
            return _decode_legacy(raw, rlp.decode(raw), sender)
        if raw[0] in (ACCESS_LIST, DYNAMIC_FEE):
            return _decode_typed(raw, rlp.decode(raw[1:]), sender)
    except RecursionError:
        raise RpcError(INVALID_INPUT, "rlp: nested too deep") from None
    except (rlp.DecodingError, ValueError, TypeError) as error:
        raise RpcError(INVALID_INPUT, f"rlp: {error}") from error
    except (BadSignature, ValidationError) as error:
        raise RpcError(INVALID_INPUT, "invalid transaction v, r, s values") from error
    raise RpcError(INVALID_INPUT, "transaction type not supported")


def sign_transaction(key: PrivateKey, fields: UnsignedTransaction) -> DecodedTransaction:
    """Sign the transaction for its chain id."""
    items = fields.items()
    if fields.type == LEGACY:
        signature = key.sign_msg_hash(keccak(rlp.encode([*items, fields.chain_id, b"", b""])))
        signed = [*items, signature.v + 35 + 2 * fields.chain_id, signature.r, signature.s]
        return decode_transaction(rlp.encode(signed))
    prefix = bytes([fields.type])
    signature = key.sign_msg_hash(keccak(prefix + rlp.encode(items)))
    return decode_transaction(prefix + rlp.encode([*items, signature.v, signature.r, signature.s]))


@dataclass(frozen=True)
class UnsignedTransaction:
    """An unsigned transaction. The fields are those of `DecodedTransaction`."""

    type: int
    chain_id: int
    nonce: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    gas: int
    to: bytes | None
    value: int
    data: bytes
    access_list: AccessList

    def items(self) -> list[Any]:
        """The fields in the order in which this transaction type is encoded and signed."""
        target = self.to or b""
        if self.type == LEGACY:
            return [self.nonce, self.max_fee_per_gas, self.gas, target, self.value, self.data]
        accesses = [[address, [slot.to_bytes(32, "big") for slot in slots]] for address, slots in self.access_list]
        fees = [self.max_priority_fee_per_gas, self.max_fee_per_gas]
        if self.type == ACCESS_LIST:
            fees = [self.max_fee_per_gas]
        return [self.chain_id, self.nonce, *fees, self.gas, target, self.value, self.data, accesses]

    def as_sent_by(self, sender: bytes) -> DecodedTransaction:
        """The transaction of an impersonated sender. It is not signed: r contains the sender, and s is zero."""
        r = int.from_bytes(sender, "big")
        raw = (bytes([self.type]) if self.type else b"") + rlp.encode([*self.items(), 0, r, 0])
        return DecodedTransaction(
            type=self.type,
            chain_id=self.chain_id,
            nonce=self.nonce,
            max_fee_per_gas=self.max_fee_per_gas,
            max_priority_fee_per_gas=self.max_priority_fee_per_gas,
            gas=self.gas,
            to=self.to,
            value=self.value,
            data=self.data,
            access_list=self.access_list,
            v=0,
            r=r,
            s=0,
            sender=sender,
            raw=raw,
            hash=keccak(raw),
        )


def _decode_legacy(raw: bytes, items: Any, sender: bytes | None) -> DecodedTransaction:
    nonce, gas_price, gas, to, value, data, v, r, s = _expect(items, 9)
    sign_v = _number(v)
    if sign_v in (27, 28):
        chain_id = None
        signed = items[:6]
        parity = sign_v - 27
    elif sign_v >= 35:
        chain_id = (sign_v - 35) // 2
        signed = [*items[:6], chain_id, b"", b""]
        parity = (sign_v - 35) % 2
    elif sender is not None:
        chain_id, signed, parity = None, [], 0
    else:
        raise BadSignature("v is neither 27, 28 nor from EIP-155")
    return DecodedTransaction(
        type=LEGACY,
        chain_id=chain_id,
        nonce=_number(nonce),
        max_fee_per_gas=_number(gas_price),
        max_priority_fee_per_gas=_number(gas_price),
        gas=_number(gas),
        to=_target(to),
        value=_number(value),
        data=data,
        access_list=(),
        v=sign_v,
        r=_number(r),
        s=_number(s),
        sender=sender or _recover(keccak(rlp.encode(signed)), parity, _number(r), _number(s)),
        raw=raw,
        hash=keccak(raw),
    )


def _decode_typed(raw: bytes, items: Any, sender: bytes | None) -> DecodedTransaction:
    kind = raw[0]
    if kind == DYNAMIC_FEE:
        chain_id, nonce, tip, fee, gas, to, value, data, accesses, v, r, s = _expect(items, 12)
    else:
        chain_id, nonce, fee, gas, to, value, data, accesses, v, r, s = _expect(items, 11)
        tip = fee
    signing_hash = keccak(raw[:1] + rlp.encode(items[:-3]))
    return DecodedTransaction(
        type=kind,
        chain_id=_number(chain_id),
        nonce=_number(nonce),
        max_fee_per_gas=_number(fee),
        max_priority_fee_per_gas=_number(tip),
        gas=_number(gas),
        to=_target(to),
        value=_number(value),
        data=data,
        access_list=tuple(
            (_exactly(address, 20), tuple(int.from_bytes(_exactly(slot, 32), "big") for slot in slots))
            for address, slots in accesses
        ),
        v=_number(v),
        r=_number(r),
        s=_number(s),
        sender=sender or _recover(signing_hash, _number(v), _number(r), _number(s)),
        raw=raw,
        hash=keccak(raw),
    )


def _expect(items: Any, count: int) -> list[Any]:
    if not isinstance(items, list) or len(items) != count:
        raise ValueError(f"a transaction of this type is a list of {count} fields")
    return items


def _number(item: bytes) -> int:
    if item[:1] == b"\x00":
        raise ValueError("non-canonical integer (leading zero bytes)")
    if len(item) > 32:
        raise ValueError("input string too long for uint256")
    return int.from_bytes(item, "big")


def _target(item: bytes) -> bytes | None:
    return _exactly(item, 20) if item else None


def _exactly(item: bytes, size: int) -> bytes:
    if not isinstance(item, bytes) or len(item) != size:
        raise ValueError(f"{size} bytes expected")
    return item


def _recover(message_hash: bytes, parity: int, r: int, s: int) -> bytes:
    if parity not in (0, 1) or r == 0 or not 0 < s <= HALF_CURVE_ORDER:
        raise BadSignature("not a canonical signature")
    public_key = recovered_public_key(message_hash, r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([parity]))
    if public_key is None:
        raise BadSignature("no key made this signature")
    return keccak(public_key)[-20:]
