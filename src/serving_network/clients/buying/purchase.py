# SPDX-License-Identifier: Apache-2.0
"""Send requests to a provider, and check what it delivers."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

import aiohttp

from serving_network.addresses import to_checksum_address
from serving_network.clients.bills.checking import check_receipt
from serving_network.clients.bills.evidence import read_evidence
from serving_network.clients.bills.fetching import ProviderFailure, error_in
from serving_network.clients.buying.answers import KEY_HEADER, AnswerUnproven, Delivered, fetch_proof, most_output
from serving_network.clients.buying.provider import trusted_offer
from serving_network.clients.buying.recount import Recount
from serving_network.clients.servers import provider_session
from serving_network.contracts.errors import AccountNotExists
from serving_network.contracts.models import INFERENCE
from serving_network.messages.prices import cached_divisor, input_fee
from serving_network.messages.session_tokens import DAY_MS
from serving_network.untrusted import reason_of, without_secrets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    from serving_network.clients.user import AsyncUser
    from serving_network.contracts.models import Offer
    from serving_network.errors import ServingError
    from serving_network.messages.receipts import Receipt, SignedReceipt
    from serving_network.store.bills import BillIdentity, BillStore
    from serving_network.tokenizing.tokenizer import Tokenizer

MAX_ANSWER: Final = 256 * 1024 * 1024
OFFER_SECONDS: Final = 30.0
RENEW_SECONDS: Final = 3600.0
CONNECT_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 600.0
_SESSION_SECONDS: Final = DAY_MS / 1000
_TRIES: Final = 3
"""How often the receipt of an answer that was cut is asked for: the provider first has to notice."""


class Buyer:
    """One user's requests to one provider. Use it as an async context manager."""

    def __init__(
        self,
        user: AsyncUser,
        identity: BillIdentity,
        bill: BillStore,
        service: str = INFERENCE,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.user = user
        self.tokenizer = tokenizer
        self.identity = identity
        self.bill = bill
        self.service = service
        self.http: aiohttp.ClientSession
        self._offer: tuple[float, Offer] | None = None
        self._token: tuple[float, str] | None = None

    async def __aenter__(self) -> Self:
        self.http = provider_session(
            self.identity.chain_id,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.close()

    async def offer(self) -> Offer:
        """What the provider registered, at most OFFER_SECONDS old. Raises SignerChanged."""
        now = time.monotonic()
        if self._offer is None or now - self._offer[0] > OFFER_SECONDS:
            found = await trusted_offer(self.user, self.identity.provider, self.service, self.bill)
            self._offer = now, found
        return self._offer[1]

    async def authorization(self, *, renew: bool = False) -> str:
        """The header of a session, made anew an hour before it ends or when `renew` is set."""
        now = time.monotonic()
        if renew or self._token is None or now - self._token[0] > _SESSION_SECONDS - RENEW_SECONDS:
            self._token = now, await self.user.make_session(self.identity.provider, self.service, free=True)
        return self._token[1]

    @asynccontextmanager
    async def ask(self, path: str, body: bytes, content_type: str = "application/json") -> AsyncIterator[Purchase]:
        """Send a request to a path under /v1, once more if the session was refused. Raises ProviderFailure."""
        offer = await self.offer()
        for renew in (False, True):
            headers = {
                "Authorization": await self.authorization(renew=renew),
                "Content-Type": content_type,
                "Accept-Encoding": "identity",
            }
            async with self._post(f"{offer.url}/v1/proxy{path}", body, headers) as answer:
                if answer.status == 401 and not renew:
                    continue
                yield Purchase(self, offer, path, body, answer)
                return

    @asynccontextmanager
    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            answer = await self.http.post(url, data=body, headers=headers, allow_redirects=False)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(url, error) from error
        try:
            yield answer
        finally:
            answer.close()


class Purchase:
    """One request and its answer: read `parts` to the end, then `prove` it."""

    def __init__(self, buyer: Buyer, offer: Offer, path: str, body: bytes, answer: aiohttp.ClientResponse) -> None:
        self._buyer = buyer
        self._offer = offer
        self._answer = answer
        self._request_hash = sha256(body).digest()
        self._most_output = most_output(body)
        self._hash = sha256()
        self._length = 0
        self._body = bytearray()
        self._whole = False
        self._recount = None if buyer.tokenizer is None else Recount(path, body, buyer.tokenizer)

    @property
    def provider(self) -> str:
        """The provider's address."""
        return self._buyer.identity.provider

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the answer."""
        return self._answer.headers

    @property
    def streams(self) -> bool:
        """Whether the answer is a stream of events."""
        return self._answer.content_type == "text/event-stream"

    async def parts(self) -> AsyncIterator[bytes]:
        """The answer as it arrives. Raises ProviderFailure if it is cut or too long."""
        try:
            async for part in self._answer.content.iter_any():
                self._hash.update(part)
                self._length += len(part)
                if self._length > MAX_ANSWER:
                    raise ProviderFailure(f"The provider sent more than {MAX_ANSWER} bytes.")
                if not self.streams:
                    self._body += part
                elif self._recount is not None:
                    self._recount.feed(part)
                yield part
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(str(self._answer.url), error) from error
        self._whole = True

    async def body(self) -> bytes:
        """The whole answer."""
        return b"".join([part async for part in self.parts()])

    async def prove(self) -> SignedReceipt:
        """Check the answer's signature and receipt, and keep the receipt.

        Raises ProviderFailure; AnswerUnproven if the provider signed something else.
        """
        delivered = Delivered(
            self._request_hash,
            self._hash.digest(),
            self._length,
            bytes(self._body),
            whole=self._whole,
            most_output=self._most_output,
        )
        for attempt in range(_TRIES):
            try:
                return await self._prove(delivered)
            except AnswerUnproven:
                raise
            except ProviderFailure:
                await asyncio.sleep(0.25 * 2**attempt)
        return await self._prove(delivered)

    def excess(self, receipt: SignedReceipt) -> str | None:
        """What is wrong with what was billed, as the buyer's tokenizer counts it; None if it fits."""
        if self._recount is None:
            return None
        if not self.streams:
            self._recount.whole(bytes(self._body))
        return self._recount.excess(receipt.receipt, whole=self._whole)

    async def refusal(self) -> ServingError:
        """The failure to raise for an answer whose status is not 200: AccountNotExists or ProviderFailure."""
        cause = error_in(await self.body())
        user, provider = self._buyer.user, self._buyer.identity.provider
        unpaid = self.status == HTTPStatus.PAYMENT_REQUIRED
        if unpaid and await user.account(user.address, provider, self._buyer.service) is None:
            return AccountNotExists(user=user.address, provider=to_checksum_address(provider))
        refused = 400 <= self.status < 500
        return ProviderFailure(
            f"The provider {'refused the request' if refused else 'failed'} with status {self.status}.",
            cause=cause or None,
            next_step=self._after_refusal() if refused and cause else None,
        )

    def _after_refusal(self) -> str:
        provider = self._buyer.identity.provider
        if self.status == HTTPStatus.PAYMENT_REQUIRED:
            return f"serving ledger fund {provider} AMOUNT"
        if self.status == HTTPStatus.NOT_FOUND:
            return f"To see what the provider sells: serving service show {provider}"
        return "Change the request as the provider says."

    async def _prove(self, delivered: Delivered) -> SignedReceipt:
        buyer = self._buyer
        receipt = await fetch_proof(
            buyer.http,
            self._offer,
            await buyer.authorization(),
            buyer.identity,
            self.headers.get(KEY_HEADER, ""),
            delivered,
        )
        await self._check_fees(receipt)
        buyer.bill.add([receipt])
        return receipt

    async def _check_fees(self, signed: SignedReceipt) -> None:
        """Fees are counts times prices, those of the offer or others that were registered shortly before or after."""
        if _fees_fit(signed.receipt, self._offer):
            return
        buyer = self._buyer
        evidence = await read_evidence(buyer.user, buyer.identity)
        for problem in check_receipt(signed, evidence):
            raise AnswerUnproven(f"The provider billed the answer wrongly: {problem.message}")


def _fees_fit(receipt: Receipt, offer: Offer) -> bool:
    of_input = input_fee(
        offer.input_price, receipt.input_tokens, receipt.cached_tokens, cached_divisor(offer.additional_info)
    )
    prices = (receipt.input_price, receipt.output_price) == (offer.input_price, offer.output_price)
    fees = (receipt.input_fee, receipt.output_fee) == (of_input, receipt.output_tokens * offer.output_price)
    return prices and fees and receipt.cached_tokens <= receipt.input_tokens


def _unreachable(url: str, error: BaseException) -> ProviderFailure:
    return ProviderFailure(f"{without_secrets(url)} does not answer.", cause=f"{reason_of(error)}.")
