# SPDX-License-Identifier: Apache-2.0
"""The signature of an answer, as the published clients fetch it from `/signature/<id>`.

| answer | text that is signed |
|---|---|
| any | sha256(request) : sha256(answer) |
| images | sha256(request) : sha256(image 0) , sha256(image 1) ... |
| of a forwarder | the text above : provider type : identity : fingerprint of the upstream's certificate |

Hashes are lower-case hexadecimal digits, and nothing stands around ":" and ",". The request is the body that the client
sent, the answer what its socket accepted, images are the decoded bytes. The signature is an EIP-191 personal message
over the ASCII text.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

from serving_network.errors import InvalidInput
from serving_network.hashing import keccak
from serving_network.messages.typed_data import MalformedMessage, bytes32
from serving_network.signing import signed_by
from serving_network.untrusted import parse_json

MAX_TEXT: Final = 16_384

_TEXT = re.compile(
    r"(?P<request>[0-9a-f]{64}):(?P<answers>[0-9a-f]{64}(?:,[0-9a-f]{64})*)"
    r"(?::(?P<type>[a-z]+):(?P<identity>[A-Za-z0-9._-]+):(?P<fingerprint>[0-9a-f]{64}))?"
)


class InvalidAnswerSignature(InvalidInput):
    """The signature does not show that the answer belongs to the request. `str(error)` says why."""


class Forwarder(NamedTuple):
    """Where a forwarding provider sent the request; `fingerprint` is the SHA-256 of the upstream's leaf certificate."""

    provider_type: str
    identity: str
    fingerprint: bytes


class SignedAnswer(NamedTuple):
    """The text and the signature of an answer, and who signed it."""

    text: str
    signature: bytes
    signer: str
    forwarder: Forwarder | None = None

    def as_json(self) -> dict[str, str]:
        """The answer to `GET /signature/<id>`."""
        content = {
            "text": self.text,
            "signature": "0x" + self.signature.hex(),
            "signing_address": self.signer,
            "signing_algo": "ecdsa",
        }
        if self.forwarder:
            content |= {
                "provider_type": self.forwarder.provider_type,
                "provider_identity": self.forwarder.identity,
                "tls_cert_fingerprint": self.forwarder.fingerprint.hex(),
            }
        return content


def answer_text(request_hash: bytes, answer_hashes: Sequence[bytes], forwarder: Forwarder | None = None) -> str:
    """The text to sign, from SHA-256 hashes: of the request, and of the answer or each of its images.

    Raises MalformedMessage if a part does not fit the text.
    """
    answers = ",".join(bytes32(one, "answer hash").hex() for one in answer_hashes)
    text = f"{bytes32(request_hash, 'request hash').hex()}:{answers}"
    if forwarder:
        text += f":{forwarder.provider_type}:{forwarder.identity}:{forwarder.fingerprint.hex()}"
    _match(text)
    return text


def image_hashes(answer: bytes) -> list[bytes]:
    """The SHA-256 hash of each image in the JSON body of an answer; empty if not every entry holds one."""
    try:
        images = parse_json(answer)["data"]
        return [sha256(base64.b64decode(image["b64_json"], validate=True)).digest() for image in images]
    except (ValueError, KeyError, TypeError):
        return []


def text_digest(text: str) -> bytes:
    """The digest that is signed for `text`. Raises MalformedMessage for anything that is not the text of an answer.

    A personal message over 32 bytes could be a session token, so no other text has a digest here.
    """
    _match(text)
    message = text.encode("ascii")
    return keccak(b"\x19Ethereum Signed Message:\n%d%b" % (len(message), message))


def parse_answer(content: Any) -> SignedAnswer:
    """The answer to `GET /signature/<id>`, checked for form only. Raises InvalidAnswerSignature."""
    try:
        signature = bytes.fromhex(content["signature"].removeprefix("0x"))
        _match(content["text"])
        return SignedAnswer(content["text"], signature, str(content["signing_address"]))
    except (ValueError, KeyError, TypeError, AttributeError, MalformedMessage) as error:
        raise InvalidAnswerSignature(
            "The signature of the answer is malformed.", next_step="Fetch it again from the provider."
        ) from error


def check_answer(signed: SignedAnswer, signer: str, request: bytes, answer: bytes) -> None:
    """Check that `signer` signed this answer to this request, from the raw bodies. Raises InvalidAnswerSignature."""
    check_answer_hashes(signed, signer, sha256(request).digest(), [sha256(answer).digest()], image_hashes(answer))


def check_answer_hashes(signed: SignedAnswer, signer: str, request: bytes, *answers: Sequence[bytes]) -> None:
    """As `check_answer`, from SHA-256 hashes: of the request, and of the answer or each of its images."""
    try:
        parts, digest = _match(signed.text), text_digest(signed.text)
    except MalformedMessage as error:
        raise InvalidAnswerSignature(str(error)) from error
    if not signed_by(signer, digest, signed.signature):
        raise InvalidAnswerSignature(f"{signer} did not sign the answer.")
    if parts["request"] != request.hex():
        raise InvalidAnswerSignature("The signature is for another request.")
    if parts["answers"].split(",") not in [[one.hex() for one in hashes] for hashes in answers]:
        raise InvalidAnswerSignature("The signature is for another answer.")


def _match(text: Any) -> re.Match[str]:
    found = _TEXT.fullmatch(text) if isinstance(text, str) and len(text) <= MAX_TEXT else None
    if found is None:
        raise MalformedMessage("The text is not that of an answer: hashes of a request and its answer.")
    return found
