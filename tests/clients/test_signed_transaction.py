# SPDX-License-Identifier: Apache-2.0
"""A stored transaction decodes to everything that was signed, and anything else is refused."""

from __future__ import annotations

from typing import Any

import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st

from serving_network.localchain.transactions import decode_transaction
from serving_network.messages.transactions import SignedTransaction
from serving_network.signing import CURVE_ORDER
from serving_network.wallet.local import LocalSigner

USER = LocalSigner(b"\x07" * 32)
STRANGER = LocalSigner(b"\x08" * 32)
RECEIVER = "0x00000000000000000000000000000000000000AA"
COMMON: dict[str, Any] = {"chainId": 31337, "nonce": 3, "to": RECEIVER, "value": 5, "data": b"\x01\x02", "gas": 21_000}
NEW = COMMON | {"type": 2, "maxFeePerGas": 9, "maxPriorityFeePerGas": 2}
OLD = COMMON | {"gasPrice": 9}


@pytest.mark.parametrize(("fields", "tip", "legacy"), [(NEW, 2, False), (OLD, 9, True)], ids=["EIP-1559", "legacy"])
@pytest.mark.parametrize("to", [RECEIVER, b""], ids=["call", "creation"])
def test_everything_that_was_signed_is_decoded(fields: dict[str, Any], tip: int, legacy: bool, to: Any) -> None:
    raw = USER.sign_transaction(fields | {"to": to})
    decoded = SignedTransaction.decode(raw, USER.address)
    assert decoded == SignedTransaction(
        raw=raw,
        sender=USER.address,
        hash="0x" + decode_transaction(raw).hash.hex(),
        chain_id=31337,
        nonce=3,
        to=to or None,
        value=5,
        data=b"\x01\x02",
        gas=21_000,
        max_fee_per_gas=9,
        max_priority_fee_per_gas=tip,
        legacy=legacy,
    )


def test_a_legacy_transaction_for_every_chain_has_no_chain_id() -> None:
    fields = {name: value for name, value in OLD.items() if name != "chainId"}
    decoded = SignedTransaction.decode(USER.sign_transaction(fields))
    assert (decoded.chain_id, decoded.sender) == (None, USER.address)


def test_the_signature_of_another_key_is_refused() -> None:
    with pytest.raises(ValueError, match=f"of {STRANGER.address}, not of {USER.address}"):
        SignedTransaction.decode(STRANGER.sign_transaction(NEW), USER.address)


def test_fields_that_are_stored_beside_it_are_compared() -> None:
    decoded = SignedTransaction.decode(USER.sign_transaction(NEW))
    assert decoded.differences({"nonce": 3, "gas": 21_000}) == []
    assert decoded.differences({"nonce": 4, "gas": 21_000, "unknown": 1}) == ["nonce", "unknown"]


@pytest.mark.parametrize("fields", [NEW, OLD], ids=["EIP-1559", "legacy"])
@given(data=st.data())
def test_damaged_bytes_are_refused_or_are_another_transaction(fields: dict[str, Any], data: st.DataObject) -> None:
    raw = bytearray(USER.sign_transaction(fields))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="transaction"):
        SignedTransaction.decode(bytes(raw), USER.address)


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x02", b"\x01\xc0", b"\xc0", b"\x80", b"raw", rlp.encode([b""] * 9), b"\x02" + rlp.encode([b""] * 12)],
)
def test_invalid_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="transaction"):
        SignedTransaction.decode(raw)


@pytest.mark.parametrize("r", [0, CURVE_ORDER, 2**256 - 1])
def test_a_signature_that_no_key_made_is_refused(r: int) -> None:
    *fields, _, s = rlp.decode(USER.sign_transaction(NEW)[1:])
    with pytest.raises(ValueError, match="valid signature"):
        SignedTransaction.decode(b"\x02" + rlp.encode([*fields, r, s]))


def test_an_access_list_is_refused() -> None:
    entry = {"address": RECEIVER, "storageKeys": ["0x" + "00" * 32]}
    with pytest.raises(ValueError, match="access list"):
        SignedTransaction.decode(USER.sign_transaction(NEW | {"accessList": [entry]}))
