# SPDX-License-Identifier: Apache-2.0
"""Receipts: vectors made with eth-account, the JSON forms, and what a checker refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from eth_account.messages import encode_typed_data
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.messages.prices import Charge, hash_requests
from serving_network.messages.receipts import (
    RECEIPT_NAME,
    RECEIPT_TYPE,
    Disclosure,
    Ending,
    InvalidReceipt,
    Receipt,
    SignedReceipt,
    Source,
    hash_receipts,
    parse_receipt,
    receipt_domain,
    receipt_id,
)
from serving_network.messages.tee_signing import typed_digest
from serving_network.messages.typed_data import MalformedMessage
from serving_network.wallet.local import LocalTeeSigner
from tests.messages.vectors import ANSWER, CHAIN_ID, CONTRACT, PROVIDER, REQUEST, TEE_KEY, TEE_SIGNER, USER, raw

TEE = LocalTeeSigner(TEE_KEY)


def disclosed(salt: int) -> Disclosure:
    return Disclosure("mock-model", bytes([salt]) * 32, sha256(REQUEST).digest(), sha256(ANSWER).digest(), len(ANSWER))


FIRST = Receipt(
    id=receipt_id("0f8fad5b-d9cb-469f-a165-70867728950e"),
    provider=PROVIDER,
    user=USER,
    token_id=255,
    sequence=1,
    billed_before=0,
    input_fee=1200000000000,
    output_fee=2000000000000,
    input_price=100000000000,
    output_price=400000000000,
    input_tokens=12,
    cached_tokens=0,
    output_tokens=5,
    source=Source.USAGE,
    ending=Ending.COMPLETE,
    time=1764412800,
    content=disclosed(1).content(),
)
SECOND = replace(
    FIRST,
    id=receipt_id("7c9e6679-7425-40de-944b-e07fc1f90ae7"),
    token_id=7,
    sequence=2,
    billed_before=3200000000000,
    input_fee=0,
    output_fee=800000000000,
    input_tokens=0,
    output_tokens=2,
    source=Source.DELTAS,
    ending=Ending.CUT_BY_CLIENT,
    time=1764412801,
    content=disclosed(2).content(),
)


def signed(receipt: Receipt, salt: int = 1) -> SignedReceipt:
    return SignedReceipt(receipt, CHAIN_ID, CONTRACT, TEE.sign_typed(receipt, CHAIN_ID, CONTRACT), disclosed(salt))


def test_the_type_hash() -> None:
    assert keccak(text=RECEIPT_TYPE) == raw("0x9577eb1697af6ff63c392e4bd5f348cf1a3921ba2430178c53403a99a0cd1c1e")


@pytest.mark.parametrize(
    ("receipt", "salt", "vector"),
    [
        (
            FIRST,
            1,
            {
                "id": "0xc812e1edb64417d6090dcfbaf16c21cd8e8665c04396e1edb472fecfb2797c6a",
                "content": "0xd422a03e34440b7ad421942070b22299b9957a5d54930462ebe9c18e8d1f11be",
                "digest": "0x04d30fde41dd096f7dca2ee80df8fd245ac80e1b018d82a6d1c3b76639b5ade4",
                "signature": "0xa9022df5b42d1ae22cef25d2dc7452fa9d8ae3407ee2b3ce0303a7e01bf022eb"
                "59a606a515bf9f153a02af595cc29fa74bf6c8987db080d5c93ba74e0a4101951c",
            },
        ),
        (
            SECOND,
            2,
            {
                "id": "0x6316e01c9e1d33dec091e5469b8fe3f63ae270f7471846f380d926c3454b4027",
                "content": "0x7ecfc289db1aaca110b5bba8df9d9e93873089c2092f8bb5ea8020c6918e7e32",
                "digest": "0x46920e9faa7b954c7dafc971fa9e167b4f1091dd466133eb119092b138b67fb4",
                "signature": "0x523d17f557eb358170932ede2690e40f17cc190b1592b6b3c662bdb4489466ff"
                "43d59bca3bb8a65714fdb3e21c5de82e9ff25126f11e6629a3ffa7b63c17c0131c",
            },
        ),
    ],
    ids=["first", "second"],
)
def test_the_vectors(receipt: Receipt, salt: int, vector: dict[str, str]) -> None:
    made = signed(receipt, salt)
    assert receipt.id == raw(vector["id"])
    assert receipt.content == raw(vector["content"])
    assert typed_digest(receipt, CHAIN_ID, CONTRACT) == raw(vector["digest"])
    assert receipt_domain(CHAIN_ID, CONTRACT).digest(receipt) == raw(vector["digest"])
    assert made.signature == raw(vector["signature"])
    made.check(TEE_SIGNER)


def test_the_requests_hash_of_the_vectors() -> None:
    """The rows of the live brokers' vector, with ids as receipts spell them."""
    rows = [
        Charge("0x" + FIRST.id.hex(), USER, 1200000000000, 2000000000000),
        Charge("0x" + SECOND.id.hex(), USER, 0, 500),
    ]
    expected = raw("0x062978a7caa68ba4e3f4758edf35cb50cc2db1c92170e8b9583cd41a61ea2150")
    assert hash_requests(rows) == (expected, 3200000000500, 2)
    receipts = [FIRST, replace(SECOND, input_fee=0, output_fee=500)]
    assert hash_receipts(receipts) == (expected, 3200000000500, 2)
    live = [
        Charge("0f8fad5b-d9cb-469f-a165-70867728950e", USER, 1200000000000, 2000000000000),
        Charge("7c9e6679-7425-40de-944b-e07fc1f90ae7", USER, 0, 500),
    ]
    assert hash_requests(live)[0] == raw("0xa14bb8fc272502ab349d2f662899414af23b0b0b4b1fee90da351cd9e3b438c1")


def test_the_first_receipt_of_a_settlement_may_be_paid_in_part() -> None:
    paid = 1200000000001
    text = (
        f"0x{FIRST.id.hex()}{USER}199999999999901999999999999" + f"0x{SECOND.id.hex()}{USER}8000000000000800000000000"
    )
    assert hash_receipts([FIRST, SECOND], paid) == (keccak(text=text), 2799999999999, 2)
    assert hash_receipts([FIRST], FIRST.fee)[1] == 0
    assert hash_receipts([], 0) == (keccak(b""), 0, 0)
    for receipts, wrong in (([FIRST], FIRST.fee + 1), ([FIRST], -1), ([], 1)):
        with pytest.raises(InvalidReceipt, match="cannot have been paid"):
            hash_receipts(receipts, wrong)


def test_the_json_form() -> None:
    made = signed(FIRST)
    assert made.as_json() == {
        "chainId": 31337,
        "contract": CONTRACT,
        "id": "0xc812e1edb64417d6090dcfbaf16c21cd8e8665c04396e1edb472fecfb2797c6a",
        "provider": PROVIDER,
        "user": USER,
        "tokenId": 255,
        "sequence": 1,
        "billedBefore": "0",
        "inputFee": "1200000000000",
        "outputFee": "2000000000000",
        "inputPrice": "100000000000",
        "outputPrice": "400000000000",
        "inputTokens": 12,
        "cachedTokens": 0,
        "outputTokens": 5,
        "source": 0,
        "ending": 0,
        "time": 1764412800,
        "content": "0xd422a03e34440b7ad421942070b22299b9957a5d54930462ebe9c18e8d1f11be",
        "signature": "0x" + made.signature.hex(),
        "model": "mock-model",
        "salt": "0x" + "01" * 32,
        "requestHash": "0x8b9f508c2d0cb9d68b78bb1d3dcf3d29089578975990273bac10072f68e077d8",
        "answerHash": "0xdab38ce9d43982989351a6be0829d5ea710fe96bad514306c583276af0df68a7",
        "length": len(ANSWER),
    }


@pytest.mark.parametrize("made", [signed(FIRST), signed(SECOND, 2), signed(FIRST).redacted()])
def test_a_receipt_survives_its_json_form(made: SignedReceipt) -> None:
    again = parse_receipt(json.loads(json.dumps(made.as_json())))
    assert again == made
    again.check(TEE_SIGNER)


def test_a_redacted_receipt_says_nothing_about_request_and_answer() -> None:
    full, redacted = signed(FIRST).as_json(), signed(FIRST).redacted().as_json()
    assert full.keys() - redacted.keys() == {"model", "salt", "requestHash", "answerHash", "length"}
    assert redacted.items() <= full.items()


BYTES32 = st.binary(min_size=32, max_size=32)
ADDRESSES = st.binary(min_size=20, max_size=20).map(to_checksum_address)
WORDS, LONGS, BYTES = st.integers(0, 2**256 - 1), st.integers(0, 2**64 - 1), st.integers(0, 255)


@settings(max_examples=50)
@given(
    st.builds(
        Receipt, BYTES32, ADDRESSES, ADDRESSES, BYTES, LONGS, WORDS, WORDS, WORDS, WORDS, WORDS, LONGS, LONGS, LONGS,
        st.sampled_from(Source), st.sampled_from(Ending), LONGS, BYTES32,
    )
)  # fmt: skip
def test_a_receipt_is_hashed_as_eth_account_does_and_survives_json(receipt: Receipt) -> None:
    fields = [part.split(" ") for part in RECEIPT_TYPE.removeprefix("Receipt(").removesuffix(")").split(",")]
    content = SignedReceipt(receipt, CHAIN_ID, CONTRACT, bytes(65)).as_json()
    message = {
        name: raw(content[name]) if kind == "bytes32" else int(content[name]) if "int" in kind else content[name]
        for kind, name in fields
    }
    domain = {"name": RECEIPT_NAME, "version": "1", "chainId": CHAIN_ID, "verifyingContract": CONTRACT}
    types = {"Receipt": [{"name": name, "type": kind} for kind, name in fields]}
    signable = encode_typed_data(domain, types, message)
    assert typed_digest(receipt, CHAIN_ID, CONTRACT) == keccak(
        b"\x19" + signable.version + signable.header + signable.body
    )
    assert parse_receipt(content).receipt == receipt


@pytest.mark.parametrize(
    "change",
    [
        {"id": bytes(31)}, {"user": USER.lower()}, {"provider": "0x0"}, {"token_id": 256}, {"sequence": 2**64},
        {"sequence": -1}, {"billed_before": 2**256}, {"input_fee": 1.0}, {"output_fee": True}, {"input_tokens": 2**64},
        {"source": 256}, {"ending": -1}, {"time": 2**64}, {"content": bytes(33)},
    ],
)  # fmt: skip
def test_a_field_that_does_not_fit_is_never_signed(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedMessage):
        TEE.sign_typed(replace(FIRST, **change), CHAIN_ID, CONTRACT)
    with pytest.raises(InvalidReceipt, match="malformed"):
        replace(signed(FIRST), receipt=replace(FIRST, **change)).check(TEE_SIGNER)


@pytest.mark.parametrize(
    "change",
    [
        {"id": bytes(32)}, {"user": PROVIDER}, {"provider": USER}, {"token_id": 254}, {"sequence": 2},
        {"billed_before": 1}, {"input_fee": 1}, {"output_fee": 1}, {"input_price": 1}, {"output_price": 1},
        {"input_tokens": 13}, {"cached_tokens": 1}, {"output_tokens": 4}, {"source": Source.DELTAS},
        {"ending": Ending.CRASH}, {"time": 1}, {"content": bytes(32)},
    ],
)  # fmt: skip
def test_every_field_is_signed(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidReceipt, match="did not sign"):
        replace(signed(FIRST), receipt=replace(FIRST, **change)).check(TEE_SIGNER)


def test_a_receipt_counts_for_its_signer_chain_contract_and_content_only() -> None:
    made = signed(FIRST)
    with pytest.raises(InvalidReceipt, match="did not sign"):
        made.check(LocalTeeSigner(b"\x08" * 32).address)
    for other in (replace(made, chain_id=1), replace(made, contract=USER), replace(made, signature=bytes(65))):
        with pytest.raises(InvalidReceipt, match="did not sign"):
            other.check(TEE_SIGNER)
    with pytest.raises(InvalidReceipt, match="not those that were signed"):
        replace(made, disclosure=disclosed(2)).check(TEE_SIGNER)
    with pytest.raises(InvalidReceipt, match="malformed"):
        replace(made, disclosure=replace(disclosed(1), salt=b"")).check(TEE_SIGNER)
    with pytest.raises(InvalidReceipt, match="malformed"):
        replace(made, contract="nowhere").check(TEE_SIGNER)


FORM = signed(FIRST).as_json()


@pytest.mark.parametrize(
    "content",
    [
        None, [], "receipt", {}, {**FORM, "extra": 1}, dict[Any, Any](FORM) | {1: 1},
        {name: value for name, value in FORM.items() if name != "salt"},
        {name: value for name, value in FORM.items() if name != "sequence"},
        *({**FORM, name: value} for name, value in [
            ("id", "c8" * 32), ("id", "0x" + "C8" * 31), ("id", 1), ("id", "0x" + "zz" * 32), ("id", "0x" + "0 " * 32),
            ("billedBefore", 0), ("billedBefore", "-1"), ("billedBefore", "1e3"), ("billedBefore", "\u0661"),
            ("billedBefore", "9" * 78), ("billedBefore", "9" * 5000), ("sequence", "1"), ("sequence", True),
            ("sequence", -1), ("sequence", 2**64), ("time", 1.5), ("source", 4), ("ending", 5), ("tokenId", 256),
            ("user", USER.lower()), ("user", 1), ("user", ["a"]), ("contract", None), ("chainId", "31337"),
            ("chainId", 2**256), ("signature", "0x"), ("signature", "0x" + "00" * 64), ("model", 1),
            ("model", "m" * 513), ("salt", None), ("requestHash", "0x00"), ("answerHash", ""), ("length", -1),
        ]),
    ],
)  # fmt: skip
def test_anything_else_is_not_a_receipt(content: Any) -> None:
    with pytest.raises(InvalidReceipt, match="malformed"):
        parse_receipt(content)
