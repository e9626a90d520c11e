# SPDX-License-Identifier: Apache-2.0
"""What a provider's TEE signs, and nothing else.

| what | how | digest |
|---|---|---|
| settlements, deliverables, receipts | typed data (EIP-712) of the types below | `typed_digest` |
| answers | personal message (EIP-191) over the text of an answer | `text_digest` |
| the file of a fine-tuned model | its AES-GCM tags, without a prefix | `tags_digest` |

There is no operation over a digest that the caller chose. A personal message over 32 bytes is never signed either:
session tokens have this form, and contracts of an older version took settlements in it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Protocol

from serving_network.hashing import keccak
from serving_network.messages.receipts import RECEIPT_NAME, Receipt
from serving_network.messages.typed_data import (
    FINE_TUNING_NAME,
    INFERENCE_NAME,
    Domain,
    MalformedMessage,
    TEESettlement,
    TEESettlementBatch,
    VerifierMessage,
)

TAG_BYTES: Final = 16

SignedMessage = TEESettlement | TEESettlementBatch | VerifierMessage | Receipt

_DOMAIN_OF: Final[dict[type[SignedMessage], str]] = {
    TEESettlement: INFERENCE_NAME,
    TEESettlementBatch: INFERENCE_NAME,
    VerifierMessage: FINE_TUNING_NAME,
    Receipt: RECEIPT_NAME,
}
_PERSONAL_MESSAGE: Final = b"\x19Ethereum Signed Message:\n"


class AttestedSigner(Protocol):
    """The key that the owner confirmed for a provider.

    Signatures have 65 bytes r, s, v: s in the lower half of the order, v 27 or 28. All methods raise MalformedMessage
    for what a TEE does not sign.
    """

    @property
    def address(self) -> str:
        """The signer's address, with checksum."""
        ...

    def sign_typed(self, message: SignedMessage, chain_id: int, contract: str) -> bytes:
        """Sign a message for a front; the domain's name follows from the message's type."""
        ...

    def sign_answer(self, text: str) -> bytes:
        """Sign the text of an answer, see `messages.answer_signatures`."""
        ...

    def sign_tags(self, tags: bytes) -> bytes:
        """Sign the concatenated tags of an encrypted model's chunks."""
        ...


def typed_digest(message: SignedMessage, chain_id: int, contract: str) -> bytes:
    """The digest of typed data of a known type. Raises MalformedMessage."""
    name = _DOMAIN_OF.get(type(message))
    if name is None:
        raise MalformedMessage(f"A TEE does not sign {type(message).__name__}.")
    return _domain(name, chain_id, contract).digest(message)


def tags_digest(tags: bytes) -> bytes:
    """The digest of the tags of an encrypted model. Raises MalformedMessage.

    Typed data is hashed over 66 bytes, which is no number of whole tags; a personal message is refused by its prefix.
    """
    if not isinstance(tags, bytes) or not tags or len(tags) % TAG_BYTES:
        raise MalformedMessage(f"The tags are not a multiple of {TAG_BYTES} bytes.")
    if tags.startswith(_PERSONAL_MESSAGE[:TAG_BYTES]):
        raise MalformedMessage("The tags are the beginning of a personal message.")
    return keccak(tags)


@lru_cache(maxsize=16)
def _domain(name: str, chain_id: int, contract: str) -> Domain:
    return Domain(name, chain_id, contract)
