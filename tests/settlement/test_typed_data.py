# SPDX-License-Identifier: Apache-2.0
"""Digests and signatures against vectors of another implementation, and against eth-account."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.errors import InvalidInput
from serving_network.messages.typed_data import (
    DOMAIN_TYPE,
    FINE_TUNING_NAME,
    INFERENCE_NAME,
    VERIFIER_TYPE,
    Domain,
    MalformedMessage,
    Message,
    TEESettlement,
    TEESettlementBatch,
    UserSettlement,
    VerifierMessage,
    verifier_typed_data,
)
from serving_network.signing import signed_by
from serving_network.wallet.local import LocalTeeSigner
from tests.raw_signing import sign_digest

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "eip712_vectors.json").read_text("utf-8"))
CASES = [(kind, case) for kind in ("inference", "fineTuning") for case in VECTORS[kind]]
CONTRACT = "0x0165878A594ca255338adfa4d48449f69242Eb8F"
USER = to_checksum_address("0x" + "a1" * 20)

KEYS = st.binary(min_size=32, max_size=32).filter(lambda key: 0 < int.from_bytes(key, "big") < 2**255)
WORDS = st.integers(0, 2**256 - 1)
ADDRESSES = st.binary(min_size=20, max_size=20).map(to_checksum_address)
SETTLEMENTS = st.builds(UserSettlement, ADDRESSES, WORDS, WORDS, st.binary(min_size=32, max_size=32))


def hexed(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def message_of(kind: str, message: dict[str, str]) -> Message:
    if kind == "inference":
        row = UserSettlement(
            message["user"], int(message["totalFee"]), int(message["nonce"]), hexed(message["requestsHash"])
        )
        return TEESettlement(message["provider"], row)
    return VerifierMessage(
        message["id"],
        hexed(message["encryptedSecret"]),
        hexed(message["modelRootHash"]),
        int(message["nonce"]),
        int(message["taskFee"]),
        message["user"],
    )


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_signatures_and_digests_match_the_vectors(kind: str, case: dict[str, Any]) -> None:
    domain = Domain(case["domain"]["name"], case["domain"]["chainId"], case["domain"]["verifyingContract"])
    message = message_of(kind, case["message"])
    signer = LocalTeeSigner(hexed(VECTORS["teeKey"]))
    assert signer.address == VECTORS["teeSigner"]
    assert domain.separator == hexed(case["domainSeparator"])
    assert message.struct_hash() == hexed(case["structHash"])
    assert domain.digest(message) == hexed(case["digest"])
    assert sign_digest(signer, domain.digest(message)) == hexed(case["signature"])
    assert signed_by(signer.address, domain.digest(message), hexed(case["signature"]))
    for signature in case.get("invalidSignatures", {}).values():
        assert not signed_by(signer.address, domain.digest(message), hexed(signature))


def test_the_vectors_cover_both_contracts_and_malformed_signatures() -> None:
    assert {case["domain"]["name"] for _, case in CASES} == {INFERENCE_NAME, FINE_TUNING_NAME}
    assert sum("invalidSignatures" in case for _, case in CASES) >= 2


@settings(max_examples=25)
@given(KEYS, ADDRESSES, st.lists(SETTLEMENTS, min_size=1, max_size=5))
def test_a_batch_is_hashed_and_signed_as_eth_account_does(
    key: bytes, provider: str, settlements: list[UserSettlement]
) -> None:
    types = {
        "UserSettlement": [
            {"name": "user", "type": "address"},
            {"name": "totalFee", "type": "uint256"},
            {"name": "nonce", "type": "uint256"},
            {"name": "requestsHash", "type": "bytes32"},
        ],
        "TEESettlementBatch": [
            {"name": "provider", "type": "address"},
            {"name": "settlements", "type": "UserSettlement[]"},
        ],
    }
    rows = [
        {"user": row.user, "totalFee": row.total_fee, "nonce": row.nonce, "requestsHash": row.requests_hash}
        for row in settlements
    ]
    domain = {"name": INFERENCE_NAME, "version": "1", "chainId": 31337, "verifyingContract": CONTRACT}
    signable = encode_typed_data(domain, types, {"provider": provider, "settlements": rows})
    digest = Domain(INFERENCE_NAME, 31337, CONTRACT).digest(TEESettlementBatch(provider, settlements))
    assert digest == keccak(b"\x19" + signable.version + signable.header + signable.body)
    signer = LocalTeeSigner(key)
    assert signer.address == Account.from_key(key).address
    assert sign_digest(signer, digest) == Account.unsafe_sign_hash(digest, key).signature
    assert signed_by(signer.address, digest, sign_digest(signer, digest))
    assert not signed_by(signer.address, keccak(digest), sign_digest(signer, digest))


FINE = UserSettlement(USER, 1, 1, bytes(32))


@pytest.mark.parametrize(
    "message",
    [
        UserSettlement(USER, 1, 1, bytes(31)),
        UserSettlement(USER, 1, 1, bytes(33)),
        UserSettlement(USER, 1, 1, "0x" + "00" * 32),  # type: ignore[arg-type]
        UserSettlement(USER, 1, 1, "0" * 32),  # type: ignore[arg-type]
        UserSettlement(USER, 1, 1, bytearray(32)),  # type: ignore[arg-type]
        UserSettlement(USER, -1, 1, bytes(32)),
        UserSettlement(USER, 1 << 256, 1, bytes(32)),
        UserSettlement(USER, 1, True, bytes(32)),
        UserSettlement(USER, 1, 1.0, bytes(32)),  # type: ignore[arg-type]
        UserSettlement(USER.lower(), 1, 1, bytes(32)),
        UserSettlement("0x00", 1, 1, bytes(32)),
        TEESettlement("", FINE),
        TEESettlementBatch(USER, [FINE, UserSettlement(USER, 1, -1, bytes(32))]),
        VerifierMessage("\ud800", b"", b"", 1, 1, USER),
        VerifierMessage("id", "0x", b"", 1, 1, USER),  # type: ignore[arg-type]
    ],
)
def test_a_value_that_does_not_fit_is_never_signed(message: Message) -> None:
    with pytest.raises(MalformedMessage):
        Domain(INFERENCE_NAME, 1, CONTRACT).digest(message)


BAD = {"user": "0x", "totalFee": -1, "nonce": -1, "requestsHash": b""}


@pytest.mark.parametrize("field", BAD)
@pytest.mark.parametrize("alone", [True, False])
def test_an_invalid_settlement_field_is_named(field: str, alone: bool) -> None:
    values: dict[str, Any] = {"user": USER, "totalFee": 1, "nonce": 1, "requestsHash": bytes(32)} | {field: BAD[field]}
    row = UserSettlement(*values.values())
    with pytest.raises(MalformedMessage, match=f"^{field} is "):
        (TEESettlement(USER, row) if alone else TEESettlementBatch(USER, [row])).struct_hash()


@pytest.mark.parametrize("message", [TEESettlement("0x", FINE), TEESettlementBatch("0x", [FINE])])
def test_an_invalid_provider_is_named(message: Message) -> None:
    with pytest.raises(MalformedMessage, match=r"^provider is "):
        message.struct_hash()


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ((b"id", b"", b"", 1, 1, USER), "id"), (("id", "", b"", 1, 1, USER), "encryptedSecret"),
        (("id", b"", "", 1, 1, USER), "modelRootHash"), (("id", b"", b"", -1, 1, USER), "nonce"),
        (("id", b"", b"", 1, -1, USER), "taskFee"), (("id", b"", b"", 1, 1, "0x"), "user"),
    ],
)  # fmt: skip
def test_an_invalid_deliverable_field_is_named(values: tuple[Any, ...], field: str) -> None:
    with pytest.raises(MalformedMessage, match=f"^{field} is "):
        VerifierMessage(*values).struct_hash()


@pytest.mark.parametrize(
    ("values", "field"),
    [((None, 1, CONTRACT), "name"), (("n", -1, CONTRACT), "chainId"), (("n", 1, "0x"), "verifyingContract")],
)
def test_an_invalid_domain_field_is_named(values: tuple[Any, ...], field: str) -> None:
    with pytest.raises(MalformedMessage, match=f"^{field} is "):
        Domain(*values)


def test_every_256_bit_number_can_be_signed() -> None:
    for number in (0, 2**256 - 1):
        Domain("", number, CONTRACT).digest(UserSettlement(USER, number, number, bytes(32)))
    assert (Domain("n", 7, CONTRACT).name, Domain("n", 7, CONTRACT).chain_id) == ("n", 7)
    assert Domain("n", 7, CONTRACT).contract == CONTRACT


@pytest.mark.parametrize("key", [b"", bytes(32), b"\xff" * 32, b"\x01" * 31])
def test_an_invalid_key_is_refused_and_not_shown(key: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        LocalTeeSigner(key)
    assert key.hex() not in str(caught.value) or not key
    assert "0101" not in repr(LocalTeeSigner(b"\x01" * 32))


def test_the_full_typed_data_of_a_deliverable_is_what_is_signed() -> None:
    message = VerifierMessage("task", b"secret", b"root", 5, 7, USER)
    full = verifier_typed_data(31337, CONTRACT, message)
    assert full["primaryType"] == "VerifierMessage"
    fields = {name: ",".join(" ".join((one["type"], one["name"])) for one in of) for name, of in full["types"].items()}
    assert [f"{name}({of})" for name, of in fields.items()] == [DOMAIN_TYPE, VERIFIER_TYPE]
    encoded = encode_typed_data(full_message=full)
    digest = keccak(b"\x19" + encoded.version + encoded.header + encoded.body)
    assert digest == Domain(FINE_TUNING_NAME, 31337, CONTRACT).digest(message)
    with pytest.raises(MalformedMessage):
        verifier_typed_data(31337, CONTRACT, VerifierMessage("task", b"secret", b"root", 5, True, USER))
