# SPDX-License-Identifier: Apache-2.0
"""What requests cost, and the hash that binds a settlement to them.

    fee = input tokens * input price + output tokens * output price          (wei, whole numbers)

A row that specifies its fees is charged those. The fee of a request is fixed when it is recorded: a later
change of prices does not touch it.

The requests hash is what the live brokers compute: keccak-256 over the requests in the order of the log, each
as the ASCII text

    requestHash userAddress fee inputFee outputFee

without anything between the parts or the requests. The hash and the address are spelled as the log spells
them, the fees in decimal digits, and fee = inputFee + outputFee.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from serving_network.hashing import new_hasher
from serving_network.messages.usage import UsageRow
from serving_network.untrusted import parse_json

_UPDATE_EVERY = 512


class Prices(NamedTuple):
    """The prices of a service, in wei per token. Cached input costs the input price over the divisor."""

    input_price: int
    output_price: int
    cached_divisor: int = 1

    def fees(self, input_tokens: int, output_tokens: int) -> tuple[int, int]:
        """The input and the output fee in wei."""
        return input_tokens * self.input_price, output_tokens * self.output_price

    def fees_of(self, row: UsageRow) -> tuple[int, int]:
        """The input and the output fee of a request in wei: a second is a unit of input, an image one of output."""
        of_input = input_fee(self.input_price, row.input_tokens, row.cached_tokens, self.cached_divisor)
        return of_input + row.seconds * self.input_price, (row.output_tokens + row.images) * self.output_price


def input_fee(price: int, tokens: int, cached: int, cached_divisor: int) -> int:
    """The wei of `tokens` of input. `cached` of them cost the price over the divisor, rounded down."""
    return (tokens - cached) * price + cached * price // cached_divisor


def cached_divisor(additional_info: str) -> int:
    """The divisor in a service's additionalInfo, as {"cacheTokenBilling": {"divisor": 4}}; 1 if there is none."""
    try:
        divisor = parse_json(additional_info)["cacheTokenBilling"]["divisor"]
    except (ValueError, KeyError, TypeError):
        return 1
    return divisor if type(divisor) is int and divisor > 0 else 1


class Charge(NamedTuple):
    """What one request adds to a settlement: how the hash spells it, and its fees in wei."""

    request_text: str
    user_text: str
    input_fee: int
    output_fee: int

    def less(self, paid: int) -> Charge:
        """What is still due after `paid` wei of it, which count for the input first."""
        of_input = min(paid, self.input_fee)
        return self._replace(input_fee=self.input_fee - of_input, output_fee=self.output_fee - (paid - of_input))


def count_covered(charges: Iterable[Charge], fee: int, requests_hash: bytes) -> int | None:
    """How many of the charges, from the first on, a settlement with this fee and hash covers; None if none fit.

    Requests that cost nothing may follow the last one that a settlement covers, so the fee alone does not identify it.
    """
    hasher = new_hasher()
    total = 0
    if not fee and hasher.digest() == requests_hash:
        return 0
    for count, (request_text, user_text, input_fee, output_fee) in enumerate(charges, 1):
        cost = input_fee + output_fee
        total += cost
        if total > fee:
            return None
        hasher.update(f"{request_text}{user_text}{cost}{input_fee}{output_fee}".encode("ascii"))
        if total == fee and hasher.digest() == requests_hash:
            return count
    return None


def hash_requests(charges: Iterable[Charge]) -> tuple[bytes, int, int]:
    """The requests hash (32 bytes), the total fee in wei and the number of the charges."""
    hasher = new_hasher()
    texts: list[str] = []
    total = count = 0
    for request_text, user_text, input_fee, output_fee in charges:
        fee = input_fee + output_fee
        total += fee
        count += 1
        texts.append(f"{request_text}{user_text}{fee}{input_fee}{output_fee}")
        if len(texts) == _UPDATE_EVERY:
            hasher.update("".join(texts).encode("ascii"))
            texts.clear()
    hasher.update("".join(texts).encode("ascii"))
    return hasher.digest(), total, count
