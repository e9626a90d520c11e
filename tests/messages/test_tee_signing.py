# SPDX-License-Identifier: Apache-2.0
"""A TEE signs messages of known types, texts of answers and delivery tags. There is no way to make it sign more."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from eth_account.messages import encode_defunct
from eth_utils.crypto import keccak

from serving_network.messages.tee_signing import AttestedSigner, tags_digest, typed_digest
from serving_network.messages.typed_data import (
    FINE_TUNING_NAME,
    INFERENCE_NAME,
    Domain,
    MalformedMessage,
    TEESettlement,
    TEESettlementBatch,
    UserSettlement,
    VerifierMessage,
)
from serving_network.signing import signed_by
from serving_network.wallet.local import LocalSigner, LocalTeeSigner
from tests.messages.vectors import CHAIN_ID, CONTRACT, PROVIDER, TEE_KEY, TEE_SIGNER, USER, raw

TEE: AttestedSigner = LocalTeeSigner(TEE_KEY)
ROW = UserSettlement(
    USER, 3200000000500, 17644128000000000, raw("0xa14bb8fc272502ab349d2f662899414af23b0b0b4b1fee90da351cd9e3b438c1")
)


def test_the_vector_of_a_settlement() -> None:
    settlement = TEESettlement(PROVIDER, ROW)
    assert typed_digest(settlement, CHAIN_ID, CONTRACT) == raw(
        "0x8fb0fd8345b775d5db4bd8583a65c45b3abc5f102119002020e1ddccdc5dace1"
    )
    assert TEE.sign_typed(settlement, CHAIN_ID, CONTRACT) == raw(
        "0xe698d40330b69cc602ff39bf119829a170cb6b6773a291dca03bf544f8ac6d9e"
        "079ba674a65f99a8d82a15909f044f33921047bb591b85f97403213037c3cfa71c"
    )


def test_each_type_is_signed_for_its_own_contract() -> None:
    batch = TEESettlementBatch(PROVIDER, [ROW])
    deliverable = VerifierMessage("task", b"secret", b"hash", 1, 2, USER)
    for message, name in ((batch, INFERENCE_NAME), (deliverable, FINE_TUNING_NAME)):
        digest = Domain(name, CHAIN_ID, CONTRACT).digest(message)
        assert signed_by(TEE_SIGNER, digest, TEE.sign_typed(message, CHAIN_ID, CONTRACT))


@dataclass(frozen=True)
class Forged(TEESettlement):
    """A settlement that hashes to what its maker wants."""

    def struct_hash(self) -> bytes:
        return keccak(b"anything")


@pytest.mark.parametrize("message", [ROW, Forged(PROVIDER, ROW), None, b"\x01" * 32, {"primaryType": "Permit"}])
def test_other_messages_are_refused(message: TEESettlement) -> None:
    with pytest.raises(MalformedMessage, match="does not sign"):
        TEE.sign_typed(message, CHAIN_ID, CONTRACT)


def test_a_signer_has_no_other_operation() -> None:
    public = {name for name in dir(TEE) if not name.startswith("_")}
    assert public == {"address", "sign_typed", "sign_answer", "sign_tags"}
    assert not hasattr(LocalSigner(TEE_KEY), "sign_digest")
    assert LocalSigner(TEE_KEY).as_tee_signer().address == TEE.address


def test_the_vector_of_delivery_tags() -> None:
    assert TEE.sign_tags(raw("0x36735dfeca14633f76042af280e29bb4")) == raw(
        "0xb9b7cb4be035d507c815052b40fe8c1aa42b781ca2c1fd7cef6f5955eb02caed"
        "1b3be0746de1d8bdd1cfaf7a3d65ce163aca89845c8c2bf84295ffb595cafdcf1c"
    )
    assert tags_digest(bytes(32)) == keccak(bytes(32))


@pytest.mark.parametrize("tags", [b"", bytes(15), bytes(17), bytearray(16), "0" * 16])
def test_tags_have_16_bytes_each(tags: bytes) -> None:
    with pytest.raises(MalformedMessage, match="multiple of 16"):
        TEE.sign_tags(tags)


def test_tags_cannot_pass_for_typed_data_or_a_personal_message() -> None:
    typed = b"\x19\x01" + Domain(INFERENCE_NAME, CHAIN_ID, CONTRACT).separator + ROW.struct_hash()
    personal = encode_defunct(b"x" * 32)
    prefixed = b"\x19" + personal.version + personal.header + personal.body
    for image in (typed, prefixed, prefixed[:16], prefixed[:32] + bytes(16)):
        with pytest.raises(MalformedMessage):
            TEE.sign_tags(image)
