# SPDX-License-Identifier: Apache-2.0
"""An example: one day of a provider, with its users and their usage log. Every run creates the same data."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from hashlib import sha256
from itertools import accumulate
from typing import Final

from eth_keys.datatypes import PrivateKey

DAY: Final = datetime(2026, 11, 21, tzinfo=UTC)
REQUESTS: Final = 5_280
USERS: Final = 120
INPUT_PRICE: Final = 2 * 10**13
OUTPUT_PRICE: Final = 6 * 10**13
MINIMUM_FEE: Final = 10**15
"""Prices are in wei per token. The minimum fee of a settlement is in wei."""

_SEED: Final = 20261121
_COIN: Final = 10**18
_HEADER: Final = "request_id,user,time,input_tokens,output_tokens"
# Relative number of requests in each hour of the day (UTC): office hours in Asia, then in Europe.
_HOURS: Final = (14, 16, 22, 30, 34, 36, 38, 42, 50, 58, 62, 60, 52, 58, 62, 60, 54, 44, 36, 30, 26, 22, 18, 15)


class Part(Enum):
    """The role of a user in the example."""

    ORDINARY = "pays for everything"
    SHORT = "runs out of money"
    SMALL = "stays under the minimum fee"
    REFUNDING = "requested a refund"
    UNACKNOWLEDGED = "revoked the acknowledgement of the TEE signer"


_PARTS: Final = {
    2: Part.SHORT,
    11: Part.SHORT,
    12: Part.REFUNDING,
    24: Part.SHORT,
    40: Part.UNACKNOWLEDGED,
} | dict.fromkeys(range(USERS - 4, USERS), Part.SMALL)


@dataclass(frozen=True)
class ExampleUser:
    """A user: the key for the local chain, the role, and the coins for the provider, in wei."""

    key: bytes
    address: str
    part: Part
    funds: int


def users() -> list[ExampleUser]:
    """The 120 users, sorted by usage. Their funds cover their requests, unless their role says otherwise."""
    fees = dict.fromkeys(range(USERS), 0)
    for user, _, input_tokens, output_tokens in _requests():
        fees[user] += input_tokens * INPUT_PRICE + output_tokens * OUTPUT_PRICE
    cast = []
    for number, fee in fees.items():
        part = _PARTS.get(number, Part.ORDINARY)
        covered = -(-fee // _COIN)
        funds = max(_COIN, fee // 3 if part is Part.SHORT else covered * _COIN)
        cast.append(ExampleUser(_key(number), _address(number), part, funds))
    return cast


def log_lines() -> Iterator[str]:
    """The lines of the usage log, with line endings."""
    ids = random.Random(_SEED + 1)  # noqa: S311 - reproducible
    yield _HEADER + "\n"
    for user, time, input_tokens, output_tokens in _requests():
        request = f"req-{ids.getrandbits(96):024x}"
        stamp = time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        yield f"{request},{_address(user)},{stamp},{input_tokens},{output_tokens}\n"


@cache
def _requests() -> list[tuple[int, datetime, int, int]]:
    """Every request, sorted by time: its user, time, input tokens and output tokens."""
    chance = random.Random(_SEED)  # noqa: S311 - reproducible
    small = [number for number, part in _PARTS.items() if part is Part.SMALL]
    many = [number for number in range(USERS) if number not in small]
    weights = list(accumulate(100_000 // (place + 3) for place in range(len(many))))
    made = [(number, _moment(chance), chance.randrange(4, 9), chance.randrange(1, 5)) for number in small]
    # Each user once, so that there are 120 users; the other requests by weight.
    chosen = many + chance.choices(many, cum_weights=weights, k=REQUESTS - len(small) - len(many))
    made += [(number, _moment(chance), _size(chance, 9, 14_000), _size(chance, 7, 1_800)) for number in chosen]
    return sorted(made, key=lambda request: request[1])


def _moment(chance: random.Random) -> datetime:
    hour = chance.choices(range(24), _HOURS)[0]
    return DAY + timedelta(hours=hour, milliseconds=chance.randrange(3_600_000))


def _size(chance: random.Random, doublings: int, most: int) -> int:
    """A number of tokens: half of them small, a few very large. Computed in integers only."""
    scale = 1 << sum(chance.getrandbits(1) for _ in range(2 * doublings))
    return min(most, max(8, chance.randrange(scale, 2 * scale)))


def _key(number: int) -> bytes:
    """A user's key. Anybody can compute it, so it must only be used on a local chain."""
    return sha256(b"serving-network example user %d" % number).digest()


@cache
def _address(number: int) -> str:
    return PrivateKey(_key(number)).public_key.to_checksum_address()
