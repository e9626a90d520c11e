# SPDX-License-Identifier: Apache-2.0
"""Fetch a user's receipts from a provider's gateway. Nothing that it sends is trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import aiohttp

from serving_network.errors import NodeFailure
from serving_network.messages.receipts import InvalidReceipt, SignedReceipt, parse_receipt
from serving_network.store.bills import check_storable
from serving_network.untrusted import parse_json, printable, reason_of, without_secrets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from serving_network.store.bills import BillIdentity

PAGE: Final = 500
MAX_PAGES: Final = 2_000
MAX_BYTES: Final = 4 * 1024 * 1024
_SECONDS: Final = 60.0


class ProviderFailure(NodeFailure):
    """The provider's server did not answer, or its answer makes no sense. `status` is that of an answer, if any."""

    def __init__(
        self, message: str, *, cause: str | None = None, next_step: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(message, cause=cause, next_step=next_step or "Try again later, or ask the provider.")
        self.status = status


async def get_json(http: aiohttp.ClientSession, url: str, authorization: str | None = None) -> Any:
    """The JSON that a provider's server answers, of at most MAX_BYTES. Raises ProviderFailure."""
    headers = {"Accept-Encoding": "identity"} | ({} if authorization is None else {"Authorization": authorization})
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    where = without_secrets(url)
    try:
        async with http.get(url, headers=headers, timeout=timeout, allow_redirects=False) as answer:
            content = bytearray()
            async for part in answer.content.iter_any():
                content += part
                if len(content) > MAX_BYTES:
                    raise ProviderFailure(f"{where} sent more than {MAX_BYTES} bytes.")
            if answer.status != 200:
                raise ProviderFailure(
                    f"{where} answered with status {answer.status}.",
                    cause=error_in(bytes(content)) or None,
                    status=answer.status,
                )
            return parse_json(bytes(content))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ProviderFailure(f"{where} does not answer.", cause=f"{reason_of(error)}.") from error
    except ValueError as error:
        raise ProviderFailure(f"{where} did not answer with JSON.", cause=f"{reason_of(error)}.") from error


def error_in(content: bytes) -> str:
    """The message in an error's body, in the form of the OpenAI API or of other gateways; printable."""
    try:
        found = parse_json(content)["error"]
        return printable(found["message"] if isinstance(found, dict) else str(found))
    except (ValueError, KeyError, TypeError):
        return ""


async def fetch_receipts(
    http: aiohttp.ClientSession, url: str, authorization: str, identity: BillIdentity, after: int
) -> AsyncIterator[list[SignedReceipt]]:
    """The receipts after a sequence, page by page, each of this user and provider and without a gap between them.

    `authorization` is of a session: a named key does not see the receipts of other keys in full. Raises
    ProviderFailure.
    """
    for _ in range(MAX_PAGES):
        content = await get_json(http, f"{url}/v1/receipts?after={after}&limit={PAGE}", authorization)
        listed = content.get("receipts") if isinstance(content, dict) else None
        if not isinstance(listed, list) or len(listed) > PAGE:
            raise ProviderFailure("The provider did not answer with a page of receipts.")
        try:
            page = [parse_receipt(one) for one in listed]
            for receipt in page:
                check_storable(receipt)
        except InvalidReceipt as error:
            raise ProviderFailure("The provider sent a malformed receipt.", cause=str(error)) from error
        for receipt in page:
            after += 1
            if receipt.receipt.sequence != after:
                raise ProviderFailure(f"The provider sent receipt {receipt.receipt.sequence} where {after} belongs.")
            if not identity.owns(receipt):
                raise ProviderFailure(f"The provider sent a receipt that is not part of this bill: number {after}.")
        if not page:
            return
        yield page
    raise ProviderFailure(f"The provider sent more than {MAX_PAGES * PAGE} receipts.")
