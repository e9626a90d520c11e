# SPDX-License-Identifier: Apache-2.0
"""Receipts: what a provider's TEE signs for each request, so that a user can check every coin of a bill.

A receipt is EIP-712 typed data of the domain "Serving Receipt" at the inference front. It commits to the request and
the answer by `content = keccak256(salt || sha256(request body) || sha256(delivered body))`. The JSON form holds the
receipt and its signature; beside them a full receipt has the model, the salt, both hashes and the delivered length. A
redacted receipt lacks these five and still verifies.

A settlement covers receipts in the order of their sequence; its requestsHash is that of `messages.prices`, where a
receipt is spelled as 0x and the digits of its id, the user with checksum, and the fees due at signing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Any, Final

from serving_network.errors import InvalidInput
from serving_network.hashing import keccak
from serving_network.messages.prices import Charge, hash_requests
from serving_network.messages.typed_data import Domain, MalformedMessage, address_word, bytes32, uint
from serving_network.signing import signed_by
from serving_network.untrusted import printable

RECEIPT_NAME: Final = "Serving Receipt"
RECEIPT_TYPE: Final = (
    "Receipt(bytes32 id,address provider,address user,uint8 tokenId,uint64 sequence,uint256 billedBefore,"
    "uint256 inputFee,uint256 outputFee,uint256 inputPrice,uint256 outputPrice,uint64 inputTokens,"
    "uint64 cachedTokens,uint64 outputTokens,uint8 source,uint8 ending,uint64 time,bytes32 content)"
)
MAX_MODEL_CHARACTERS: Final = 512

_RECEIPT_TYPEHASH = keccak(RECEIPT_TYPE.encode())


class InvalidReceipt(InvalidInput):
    """A receipt that proves nothing. `str(error)` says why."""


class Source(IntEnum):
    """Where the counts of a receipt come from."""

    USAGE = 0  # the model server reported them
    DELTAS = 1  # counted from the delivered part of a stream
    TOKENIZER = 2
    CHECKPOINT = 3  # the last state that was recorded before a crash


class Ending(IntEnum):
    """How an answer ended."""

    COMPLETE = 0
    CUT_BY_CLIENT = 1
    CUT_BY_UPSTREAM = 2
    CUT_BY_STOP = 3
    CRASH = 4


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one request cost. Fees are in wei, prices in wei per unit, `time` in seconds since 1970 UTC.

    `sequence` numbers the user's requests with this provider from 1 without gaps, and `billed_before` is what all
    earlier ones cost together.
    """

    id: bytes
    provider: str
    user: str
    token_id: int
    sequence: int
    billed_before: int
    input_fee: int
    output_fee: int
    input_price: int
    output_price: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    source: Source
    ending: Ending
    time: int
    content: bytes

    def struct_hash(self) -> bytes:
        return keccak(
            _RECEIPT_TYPEHASH
            + bytes32(self.id, "id")
            + address_word(self.provider, "provider")
            + address_word(self.user, "user")
            + uint(self.token_id, "tokenId", 8)
            + uint(self.sequence, "sequence", 64)
            + uint(self.billed_before, "billedBefore")
            + uint(self.input_fee, "inputFee")
            + uint(self.output_fee, "outputFee")
            + uint(self.input_price, "inputPrice")
            + uint(self.output_price, "outputPrice")
            + uint(self.input_tokens, "inputTokens", 64)
            + uint(self.cached_tokens, "cachedTokens", 64)
            + uint(self.output_tokens, "outputTokens", 64)
            + uint(int(self.source), "source", 8)
            + uint(int(self.ending), "ending", 8)
            + uint(self.time, "time", 64)
            + bytes32(self.content, "content")
        )

    @property
    def fee(self) -> int:
        """The whole fee in wei."""
        return self.input_fee + self.output_fee

    @property
    def is_free(self) -> bool:
        """Whether the request was served without payment: at no price."""
        return not (self.input_price or self.output_price or self.fee)

    def charge(self) -> Charge:
        """What the receipt adds to a settlement, as the requests hash spells it."""
        return Charge("0x" + self.id.hex(), self.user, self.input_fee, self.output_fee)


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What a redacted receipt lacks: the model, and what its content commits to. `length` is that of the answer."""

    model: str
    salt: bytes
    request_hash: bytes
    answer_hash: bytes
    length: int

    def content(self) -> bytes:
        """The commitment that the receipt of this request signs. Raises MalformedMessage."""
        return content_hash(self.salt, self.request_hash, self.answer_hash)


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """A receipt with its signature, and where it counts. A redacted one has no disclosure."""

    receipt: Receipt
    chain_id: int
    contract: str
    signature: bytes
    disclosure: Disclosure | None = None

    def redacted(self) -> SignedReceipt:
        """The receipt for third parties: it verifies, and says nothing about the request and the answer."""
        return SignedReceipt(self.receipt, self.chain_id, self.contract, self.signature)

    def check(self, signer: str) -> None:
        """Check that `signer` signed the receipt and that what it discloses is what was signed. Raises InvalidReceipt.

        The model and the length are disclosed, but not signed.
        """
        try:
            digest = receipt_domain(self.chain_id, self.contract).digest(self.receipt)
            content = self.disclosure.content() if self.disclosure else self.receipt.content
        except MalformedMessage as error:
            raise InvalidReceipt(f"The receipt is malformed: {error}") from error
        if not signed_by(signer, digest, self.signature):
            raise InvalidReceipt(f"{signer} did not sign receipt 0x{self.receipt.id.hex()}.")
        if content != self.receipt.content:
            raise InvalidReceipt(
                f"The hashes beside receipt 0x{self.receipt.id.hex()} are not those that were signed.",
                next_step="Redact the receipt to use it without them.",
            )

    def as_json(self) -> dict[str, Any]:
        """The JSON form: wei as decimal text, bytes as 0x and digits."""
        content: dict[str, Any] = {"chainId": self.chain_id, "contract": self.contract}
        for name, field in _FIELDS.items():
            value = getattr(self.receipt, field)
            content[name] = _written(name, value)
        content["signature"] = "0x" + self.signature.hex()
        if self.disclosure:
            content |= {
                "model": self.disclosure.model,
                "salt": "0x" + self.disclosure.salt.hex(),
                "requestHash": "0x" + self.disclosure.request_hash.hex(),
                "answerHash": "0x" + self.disclosure.answer_hash.hex(),
                "length": self.disclosure.length,
            }
        return content


_FIELDS: Final = {
    "id": "id",
    "provider": "provider",
    "user": "user",
    "tokenId": "token_id",
    "sequence": "sequence",
    "billedBefore": "billed_before",
    "inputFee": "input_fee",
    "outputFee": "output_fee",
    "inputPrice": "input_price",
    "outputPrice": "output_price",
    "inputTokens": "input_tokens",
    "cachedTokens": "cached_tokens",
    "outputTokens": "output_tokens",
    "source": "source",
    "ending": "ending",
    "time": "time",
    "content": "content",
}
_WEI: Final = {"billedBefore", "inputFee", "outputFee", "inputPrice", "outputPrice"}
_HASHES: Final = {"id", "content"}
_DISCLOSED: Final = {"model", "salt", "requestHash", "answerHash", "length"}


def receipt_id(key: str) -> bytes:
    """The id of the receipt for the request with this ZG-Res-Key."""
    return sha256(key.encode("ascii")).digest()


def content_hash(salt: bytes, request_hash: bytes, answer_hash: bytes) -> bytes:
    """The commitment to SHA-256 hashes of the request's and the delivered answer's body. Raises MalformedMessage."""
    return keccak(bytes32(salt, "salt") + bytes32(request_hash, "requestHash") + bytes32(answer_hash, "answerHash"))


def receipt_domain(chain_id: int, contract: str) -> Domain:
    """The domain of receipts at an inference front. Raises MalformedMessage."""
    return Domain(RECEIPT_NAME, chain_id, contract)


def hash_receipts(receipts: Iterable[Receipt], paid: int = 0) -> tuple[bytes, int, int]:
    """The requests hash of a settlement of these receipts, its total fee in wei and their number.

    `paid` wei of the first receipt were paid by an earlier settlement, and count for its input first.
    Raises InvalidReceipt if that is more than the receipt's fee.
    """
    charges = [receipt.charge() for receipt in receipts]
    if not 0 <= paid <= (charges[0].input_fee + charges[0].output_fee if charges else 0):
        raise InvalidReceipt(f"{paid} wei cannot have been paid of the first receipt: its fee is lower.")
    if charges:
        charges[0] = charges[0].less(paid)
    return hash_requests(charges)


def parse_receipt(content: Any) -> SignedReceipt:
    """A receipt from its JSON form, checked for form only: see `SignedReceipt.check`. Raises InvalidReceipt."""
    try:
        return _parsed(content)
    except (ValueError, TypeError, MalformedMessage) as error:
        raise InvalidReceipt(
            f"The receipt is malformed: {printable(str(error))}", next_step="Fetch it again from the provider."
        ) from error


def _parsed(content: Any) -> SignedReceipt:
    if not isinstance(content, Mapping):
        raise TypeError("it is not a JSON object.")
    disclosed = _DISCLOSED & content.keys()
    expected = {"chainId", "contract", "signature", *_FIELDS} | (_DISCLOSED if disclosed else set())
    if missing := sorted(expected - content.keys()):
        raise ValueError(f"{', '.join(missing)} missing.")
    if unknown := sorted(map(str, content.keys() - expected)):
        raise ValueError(f"{', '.join(unknown)} unknown.")
    values = {field: _read(name, content[name]) for name, field in _FIELDS.items()}
    values["source"], values["ending"] = Source(values["source"]), Ending(values["ending"])
    signed = SignedReceipt(
        Receipt(**values),
        _number(content["chainId"], "chainId"),
        content["contract"],
        _bytes(content["signature"], "signature", 65),
        _read_disclosure(content) if disclosed else None,
    )
    receipt_domain(signed.chain_id, signed.contract).digest(signed.receipt)
    return signed


def _read_disclosure(content: Mapping[str, Any]) -> Disclosure:
    model = content["model"]
    if not isinstance(model, str) or len(model) > MAX_MODEL_CHARACTERS:
        raise ValueError("model is not a model's name.")
    return Disclosure(
        model,
        _bytes(content["salt"], "salt", 32),
        _bytes(content["requestHash"], "requestHash", 32),
        _bytes(content["answerHash"], "answerHash", 32),
        _number(content["length"], "length"),
    )


def _written(name: str, value: Any) -> Any:
    if name in _HASHES:
        return "0x" + value.hex()
    if name in _WEI:
        return str(value)
    return int(value) if isinstance(value, int) else value


def _read(name: str, value: Any) -> Any:
    if name in _HASHES:
        return _bytes(value, name, 32)
    if name in _WEI:
        if not isinstance(value, str) or not value.isascii() or not value.isdecimal() or len(value) > 78:
            raise ValueError(f"{name} is not an amount of wei in decimal digits.")
        return int(value)
    if name in ("provider", "user"):
        return value
    return _number(value, name)


def _number(value: Any, name: str) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} is not a whole number.")
    return value


def _bytes(value: Any, name: str, length: int) -> bytes:
    if not isinstance(value, str) or len(value) != 2 + 2 * length or not value.startswith("0x") or not value.isascii():
        raise ValueError(f"{name} is not 0x and {2 * length} hexadecimal digits.")
    raw = bytes.fromhex(value[2:])
    if len(raw) != length:
        raise ValueError(f"{name} is not 0x and {2 * length} hexadecimal digits.")
    return raw
