# SPDX-License-Identifier: Apache-2.0
"""Which signatures count, each rule at its edge, and that it does not matter which library makes them."""

from __future__ import annotations

import pytest
from eth_keys.datatypes import PrivateKey, Signature
from eth_utils.crypto import keccak

from serving_network.errors import InvalidInput
from serving_network.signing import signed_by
from serving_network.wallet import local as signers
from serving_network.wallet.local import LocalTeeSigner
from tests.raw_signing import sign_digest

ORDER = 115792089237316195423570985008687907852837564279074904382605163141518161494337
HALF = (ORDER - 1) // 2
DIGEST = keccak(b"what is signed")
SIGNER = LocalTeeSigner(b"\x07" * 32)
GOOD = sign_digest(SIGNER, DIGEST)
R = int.from_bytes(GOOD[:32], "big")


def signature_of(r: int, s: int, v: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([v])


def who_signed(signature: bytes) -> str:
    """The address that a signature recovers to, whatever else is wrong with it."""
    plain = Signature(signature[:64] + bytes([signature[64] - 27]))
    return plain.recover_public_key_from_msg_hash(DIGEST).to_checksum_address()


@pytest.mark.parametrize("v", [27, 28])
@pytest.mark.parametrize(("s", "counts"), [(1, True), (HALF, True), (HALF + 1, False), (ORDER - 1, False)])
def test_s_must_be_in_the_lower_half_of_the_order(s: int, counts: bool, v: int) -> None:
    signature = signature_of(R, s, v)
    assert signed_by(who_signed(signature), DIGEST, signature) is counts


def test_r_may_be_any_valid_value_even_the_smallest() -> None:
    signature = signature_of(1, 1, 27)
    assert signed_by(who_signed(signature), DIGEST, signature)


def test_the_malleable_counterpart_of_a_signature_is_rejected() -> None:
    r, s, v = GOOD[:32], int.from_bytes(GOOD[32:64], "big"), GOOD[64]
    other = r + (ORDER - s).to_bytes(32, "big") + bytes([55 - v])
    assert who_signed(other) == SIGNER.address
    assert signed_by(SIGNER.address, DIGEST, GOOD)
    assert not signed_by(SIGNER.address, DIGEST, other)


@pytest.mark.parametrize(
    "signature",
    [
        b"", GOOD[:64], GOOD + b"\0", GOOD[:64] + bytes([GOOD[64] - 27]), GOOD[:64] + b"\x1a", GOOD[:64] + b"\x1d",
        signature_of(0, 1, 27), signature_of(R, 0, 27), signature_of(ORDER, 1, 27), signature_of(ORDER + 1, 1, 28),
        signature_of(5, 1, 27), signature_of(2**256 - 1, 2**256 - 1, 27),
    ],
)  # fmt: skip
def test_malformed_signatures_are_rejected(signature: bytes) -> None:
    assert signed_by(SIGNER.address, DIGEST, signature) is False


def test_a_signature_is_valid_for_its_signer_and_digest_only() -> None:
    assert signed_by(SIGNER.address, DIGEST, GOOD) is True
    assert not signed_by(LocalTeeSigner(b"\x08" * 32).address, DIGEST, GOOD)
    assert not signed_by(SIGNER.address, keccak(DIGEST), GOOD)


def test_eth_keys_signs_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signers, "HAS_FAST_SIGNING", False)
    slow = LocalTeeSigner(b"\x07" * 32)
    assert (slow.address, sign_digest(slow, DIGEST)) == (SIGNER.address, GOOD)
    assert GOOD[64] in (27, 28)


@pytest.mark.parametrize("key", [1, 2, ORDER - 1])
def test_every_number_from_1_below_the_order_is_a_key(key: int) -> None:
    raw = key.to_bytes(32, "big")
    assert LocalTeeSigner(raw).address == PrivateKey(raw).public_key.to_checksum_address()


@pytest.mark.parametrize(
    "key", [bytes(32), ORDER.to_bytes(32, "big"), b"\x01" * 33, b"\x01" * 31, bytearray(b"\x01" * 32), "01" * 16, None]
)
def test_invalid_keys_are_refused(key: bytes) -> None:
    with pytest.raises(InvalidInput, match="not a private key"):
        LocalTeeSigner(key)


def test_the_repr_of_a_signer_shows_only_its_address() -> None:
    assert repr(SIGNER) == f"LocalTeeSigner({SIGNER.address})"
