# SPDX-License-Identifier: Apache-2.0
"""The text and the signature of an answer: the published vectors, and what a checker must refuse."""

from __future__ import annotations

import base64
import json
from hashlib import sha256

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from serving_network.messages.answer_signatures import (
    Forwarder,
    InvalidAnswerSignature,
    SignedAnswer,
    answer_text,
    check_answer,
    image_hashes,
    text_digest,
)
from serving_network.messages.typed_data import MalformedMessage
from serving_network.wallet.local import LocalTeeSigner
from tests.messages.vectors import (
    ANSWER,
    ANSWER_TEXT,
    REQUEST,
    STREAM_EVENTS,
    STREAM_REQUEST,
    TEE_KEY,
    TEE_SIGNER,
    raw,
)

TEE = LocalTeeSigner(TEE_KEY)
IMAGE_REQUEST = b'{"model":"m","prompt":"a cat","n":2}'
IMAGE_ANSWER = json.dumps(
    {"created": 1, "data": [{"b64_json": base64.b64encode(one).decode()} for one in (b"IMG0", b"IMG1")]}
).encode()
FORWARDER = Forwarder("centralized", "openai", b"\xab" * 32)


def hashed(body: bytes) -> bytes:
    return sha256(body).digest()


def signed(request: bytes, *answers: bytes, forwarder: Forwarder | None = None) -> SignedAnswer:
    text = answer_text(hashed(request), list(map(hashed, answers)), forwarder)
    return SignedAnswer(text, TEE.sign_answer(text), TEE.address, forwarder)


@pytest.mark.parametrize(
    ("made", "text", "signature"),
    [
        (
            signed(REQUEST, ANSWER),
            ANSWER_TEXT,
            "0xd16d697669c0db6f08ab2c6f66f9129355eafcf774e570abe275b8003b31154c"
            "1d3b38f72706cf6e31e21ac17caa770448c424780b120a7605203caf837d1a271b",
        ),
        (
            signed(STREAM_REQUEST, b"".join(STREAM_EVENTS)),
            "b08641f3c8011e9f9e8fe90aa6d2d4e4590ff69831381b1a2ffb7d30a89b8302:"
            "6526b78f57c4c3d7e011121de8fe7e4319c3e56835ce3d1a6a5be08b829f6c45",
            "0x151be0210ba59ca081880855b612018b9dae745fea69723f94d8230bf709f906"
            "51ec5fcdd37566e8234bb54e0d0e1c0f8bb66b5640a9793c622fabf6ba9e9a151b",
        ),
        (
            signed(IMAGE_REQUEST, b"IMG0", b"IMG1"),
            "29009f00a4d51062a78b359de1aa21188cb04c4aed1f42c071e8bcdea002e96a:"
            "153570df597240ec00b9bc2cf68a63581f844e8125be6466179ec7932438bb16,"
            "8cc622ec34a428037906b77f67fafcc1a9b93b8c10274a0b96aca4a1961fac8c",
            "0x9b208f5d3f45ef506364b648691e76cc3e78317a5048aa423e7f6699488d9ad4"
            "6ee969467d6b59ce66b1bac7252ac84503692016ae0c7304fce433702095c98e1b",
        ),
        (
            signed(REQUEST, ANSWER, forwarder=FORWARDER),
            ANSWER_TEXT + ":centralized:openai:" + "ab" * 32,
            "0x69fe94f90f3aeda1b71a1ba867649e16407ff7345ec18250cf468d2ecf31f124"
            "5704268cbbe453954df35eea164c85e00537ac76c8f5410691190b11429d30621c",
        ),
    ],
    ids=["whole", "stream", "images", "forwarder"],
)
def test_the_vectors(made: SignedAnswer, text: str, signature: str) -> None:
    assert made.signer == TEE_SIGNER
    assert made.text == text
    assert made.signature == raw(signature)
    assert Account.recover_message(encode_defunct(text=text), signature=signature) == TEE_SIGNER


def test_the_digest_of_the_first_vector() -> None:
    assert text_digest(ANSWER_TEXT) == raw("0x3d53cb179de1641a7db9d9c937ba4b7ebbe72b3ac354885d610377da93b7de29")


def test_the_json_form_is_what_clients_fetch() -> None:
    assert signed(REQUEST, ANSWER).as_json() == {
        "text": ANSWER_TEXT,
        "signature": "0xd16d697669c0db6f08ab2c6f66f9129355eafcf774e570abe275b8003b31154c"
        "1d3b38f72706cf6e31e21ac17caa770448c424780b120a7605203caf837d1a271b",
        "signing_address": TEE_SIGNER,
        "signing_algo": "ecdsa",
    }
    forwarded = signed(REQUEST, ANSWER, forwarder=FORWARDER).as_json()
    assert forwarded["provider_type"] == "centralized"
    assert forwarded["provider_identity"] == "openai"
    assert forwarded["tls_cert_fingerprint"] == "ab" * 32


def test_image_hashes_are_of_the_decoded_images() -> None:
    assert image_hashes(IMAGE_ANSWER) == [hashed(b"IMG0"), hashed(b"IMG1")]


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"[]", b"{}", b'{"data":1}', b'{"data":[]}', b'{"data":[1]}', b'{"data":[{"url":"https://x"}]}',
        b'{"data":[{"b64_json":"SU1HMA=="},{"url":"https://x"}]}', b'{"data":[{"b64_json":"?"}]}',
        b'{"data":[{"b64_json":null}]}', b'{"data":"SU1HMA=="}',
    ],
)  # fmt: skip
def test_an_answer_without_image_bytes_has_no_image_hashes(answer: bytes) -> None:
    assert image_hashes(answer) == []


def test_the_checker_accepts_bodies_and_images() -> None:
    check_answer(signed(REQUEST, ANSWER), TEE_SIGNER, REQUEST, ANSWER)
    check_answer(signed(IMAGE_REQUEST, b"IMG0", b"IMG1"), TEE_SIGNER, IMAGE_REQUEST, IMAGE_ANSWER)
    check_answer(signed(IMAGE_REQUEST, IMAGE_ANSWER), TEE_SIGNER, IMAGE_REQUEST, IMAGE_ANSWER)
    check_answer(signed(REQUEST, ANSWER, forwarder=FORWARDER), TEE_SIGNER, REQUEST, ANSWER)


def test_the_checker_refuses_what_does_not_belong_together() -> None:
    made = signed(REQUEST, ANSWER)
    with pytest.raises(InvalidAnswerSignature, match="did not sign"):
        check_answer(made, LocalTeeSigner(b"\x08" * 32).address, REQUEST, ANSWER)
    with pytest.raises(InvalidAnswerSignature, match="another request"):
        check_answer(made, TEE_SIGNER, REQUEST + b" ", ANSWER)
    with pytest.raises(InvalidAnswerSignature, match="another answer"):
        check_answer(made, TEE_SIGNER, REQUEST, ANSWER + b"\n")
    with pytest.raises(InvalidAnswerSignature, match="another answer"):
        check_answer(signed(IMAGE_REQUEST, b"IMG1", b"IMG0"), TEE_SIGNER, IMAGE_REQUEST, IMAGE_ANSWER)
    with pytest.raises(InvalidAnswerSignature, match="did not sign"):
        check_answer(made._replace(text=ANSWER_TEXT.replace("8b9f", "8b9e")), TEE_SIGNER, REQUEST, ANSWER)


@pytest.mark.parametrize(
    "text",
    [
        "", "hello world", "x" * 32, "a" * 64, ANSWER_TEXT + ",", ANSWER_TEXT + ":", ANSWER_TEXT.upper(),
        ANSWER_TEXT + "\n", "0x" + ANSWER_TEXT, ANSWER_TEXT + ":centralized:openai",
        ANSWER_TEXT + ("," + "a" * 64) * 300,
        ANSWER_TEXT + ":centralized:open:ai:" + "ab" * 32,
    ],
)  # fmt: skip
def test_only_the_text_of_an_answer_is_signed(text: str) -> None:
    with pytest.raises(MalformedMessage, match="not that of an answer"):
        TEE.sign_answer(text)
    with pytest.raises(InvalidAnswerSignature, match="not that of an answer"):
        check_answer(SignedAnswer(text, bytes(65), TEE_SIGNER), TEE_SIGNER, REQUEST, ANSWER)


def test_hashes_and_forwarders_must_fit_the_text() -> None:
    with pytest.raises(MalformedMessage):
        answer_text(bytes(31), [bytes(32)])
    with pytest.raises(MalformedMessage):
        answer_text(bytes(32), [])
    for forwarder in (Forwarder("a:b", "c", bytes(32)), Forwarder("a", "", bytes(32)), Forwarder("a", "b", bytes(31))):
        with pytest.raises(MalformedMessage):
            answer_text(bytes(32), [bytes(32)], forwarder)
