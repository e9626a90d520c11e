# SPDX-License-Identifier: Apache-2.0
"""Check an answer: the TEE signer signed it, and a receipt for exactly it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from serving_network.clients.bills.fetching import ProviderFailure, get_json
from serving_network.messages.answer_signatures import (
    InvalidAnswerSignature,
    check_answer_hashes,
    image_hashes,
    parse_answer,
)
from serving_network.messages.receipts import InvalidReceipt, SignedReceipt, parse_receipt, receipt_id
from serving_network.store.bills import check_storable
from serving_network.untrusted import parse_json

if TYPE_CHECKING:
    import aiohttp

    from serving_network.contracts.models import Offer
    from serving_network.store.bills import BillIdentity

KEY_HEADER: Final = "ZG-Res-Key"
_BOUNDS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_KEY = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class AnswerUnproven(ProviderFailure):
    """The provider did not sign what it delivered, or billed something else."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What was sent and what arrived, as SHA-256 hashes. `body` is empty for a stream; a cut answer is not `whole`.

    `most_output` is the most tokens that the request allowed, None if it had no bound.
    """

    request_hash: bytes
    answer_hash: bytes
    length: int
    body: bytes
    whole: bool
    most_output: int | None


async def fetch_proof(
    http: aiohttp.ClientSession, offer: Offer, authorization: str, identity: BillIdentity, key: str, what: Delivered
) -> SignedReceipt:
    """The receipt for an answer, after all checks. Raises ProviderFailure; AnswerUnproven if a check fails.

    Of an answer that was cut, more may have been delivered than arrived: only the request is compared.
    """
    if not _KEY.fullmatch(key):
        raise AnswerUnproven(f"The provider did not name its answer in the header {KEY_HEADER}.")
    try:
        receipt = parse_receipt(await get_json(http, f"{offer.url}/v1/receipts/{key}", authorization))
        receipt.check(offer.tee_signer)
        check_delivered(receipt, identity, key, what)
        if what.whole:
            signed = parse_answer(await get_json(http, f"{offer.url}/v1/proxy/signature/{key}"))
            check_answer_hashes(
                signed, offer.tee_signer, what.request_hash, [what.answer_hash], image_hashes(what.body)
            )
    except (InvalidReceipt, InvalidAnswerSignature) as error:
        raise AnswerUnproven(
            "The provider's signature does not prove its answer.",
            cause=str(error),
            next_step=f"Use another provider, and show the bill: serving bill verify {identity.provider}",
        ) from error
    return receipt


def most_output(request: bytes) -> int | None:
    """The most tokens of output that a JSON request allows, over all its answers; None if it has no bound."""
    try:
        content = parse_json(request)
    except ValueError:
        return None
    if not isinstance(content, dict):
        return None
    bounds = [content[name] for name in _BOUNDS if type(content.get(name)) is int]
    choices = [content[name] for name in ("n", "best_of") if type(content.get(name)) is int]
    prompts = content.get("prompt")
    number = max([1, *choices]) * (len(prompts) if isinstance(prompts, list) and prompts else 1)
    return min(bounds) * number if bounds else None


def check_delivered(signed: SignedReceipt, identity: BillIdentity, key: str, what: Delivered) -> None:
    """Check that a receipt is for this answer, and bills no more than was asked. Raises InvalidReceipt."""
    receipt, disclosure = signed.receipt, signed.disclosure
    check_storable(signed)
    if not identity.owns(signed) or receipt.id != receipt_id(key) or disclosure is None:
        raise InvalidReceipt("The receipt is for another request.")
    if disclosure.request_hash != what.request_hash:
        raise InvalidReceipt("The receipt is for another request.")
    if what.most_output is not None and receipt.output_tokens > what.most_output:
        raise InvalidReceipt(
            f"The receipt bills {receipt.output_tokens} tokens of output, and the request allowed {what.most_output}."
        )
    if what.whole and (disclosure.answer_hash, disclosure.length) != (what.answer_hash, what.length):
        raise InvalidReceipt("The receipt is for another answer.")
