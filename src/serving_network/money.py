# SPDX-License-Identifier: Apache-2.0
"""Amounts of coins: exact decimals for display, whole wei everywhere else.

One coin is 10**18 wei and one gwei is 10**9 wei. No amount is ever a float: a float cannot hold most
balances, so "withdraw everything" would miss or exceed the balance by a few wei.
"""

from __future__ import annotations

import re
from decimal import Decimal, localcontext
from enum import Enum
from typing import Final, Literal, NewType

from serving_network.errors import NotAnAmount
from serving_network.untrusted import printable

WEI_PER_COIN: Final = 10**18
WEI_PER_GWEI: Final = 10**9
MAX_WEI: Final = 2**256 - 1

DECIMALS_OF_UNIT: Final = {"wei": 0, "gwei": 9, "coin": 18, "coins": 18, "0g": 18}

_AMOUNT = re.compile(r"(?P<whole>\d[\d_]*)?(?:\.(?P<part>\d+))?\s*(?P<unit>[a-z0][a-z]*)?", re.ASCII)
_ADVICE = 'Write an amount like "1.5" (coins), "1.5 coins", "250 gwei" or "7 wei"'


LONGEST_AMOUNT: Final = 200
LEAST_SHOWN: Final = (10**12, 10**6)
"""In wei: the last of six decimals of a coin, and of three of a gwei."""


class Everything(Enum):
    """The whole balance, whose amount is known only when it is moved."""

    ALL = "all"


Wei = NewType("Wei", int)
ALL: Final = Everything.ALL
Amount = int | Literal[Everything.ALL]


def parse_amount(text: str) -> Amount:
    """Parse an amount that a person wrote. Returns wei as an int, or `ALL` for "all".

    A number without a unit is in coins. Raises NotAnAmount for anything that is not an exact,
    non-negative number of wei below 2**256.
    """
    cleaned = text.strip().lower()
    if cleaned == "all":
        return ALL
    return _parse(text, cleaned, _ADVICE + ', or "all".')


def parse_wei(text: str) -> int:
    """Parse an amount like `parse_amount`, but reject "all". Returns wei."""
    cleaned = text.strip().lower()
    if cleaned == "all":
        raise NotAnAmount('"all" is not accepted here.', next_step='Write an amount like "1.5" or "7 wei".')
    return _parse(text, cleaned, _ADVICE + ".")


def _parse(text: str, cleaned: str, advice: str) -> int:
    match = _AMOUNT.fullmatch(cleaned)
    if match is None or (match["whole"] is None and match["part"] is None) or len(cleaned) > LONGEST_AMOUNT:
        cause = "It is an address: the arguments may be in the wrong order." if cleaned.startswith("0x") else None
        raise NotAnAmount(f"{printable(text)!r} is not an amount.", cause=cause, next_step=advice)
    unit = match["unit"] or "coin"
    if unit not in DECIMALS_OF_UNIT:
        raise NotAnAmount(
            f"{text!r} has the unknown unit {unit!r}.",
            cause="The units are wei, gwei and coins (also written 0G).",
            next_step=advice,
        )
    decimals = DECIMALS_OF_UNIT[unit]
    part = (match["part"] or "").rstrip("0")
    if len(part) > decimals:
        raise NotAnAmount(
            f"{text!r} has more digits than one wei.",
            cause=f"An amount in {unit} has at most {decimals} decimals; this one has {len(part)}.",
            next_step=advice,
        )
    wei = int((match["whole"] or "0").replace("_", "") + part.ljust(decimals, "0"))
    if wei > MAX_WEI:
        raise NotAnAmount(f"{text!r} is more than a contract can hold.", next_step=advice)
    return wei


def whole_wei(amount: object) -> int:
    """The amount that a program passed, if it is a whole, non-negative number of wei. Raises NotAnAmount.

    A float is refused even if it is whole: it cannot hold most amounts.
    """
    if type(amount) is int and 0 <= amount <= MAX_WEI:
        return amount
    raise NotAnAmount(
        f"{amount!r} is not an amount in wei.",
        cause="Amounts are whole, non-negative numbers of wei, of type int.",
        next_step='Convert it: serving_network.money.parse_wei("0.5 coins")',
    )


def to_coins(wei: int) -> Decimal:
    """The exact number of coins in `wei`."""
    with localcontext() as context:
        context.prec = 100
        return Decimal(wei).scaleb(-18)


def format_coins(wei: int) -> str:
    """`wei` as a decimal number of coins, exact and without trailing zeros: 1500000000000000000 is "1.5"."""
    sign, digits = ("-", str(-wei)) if wei < 0 else ("", str(wei))
    whole, part = digits.rjust(19, "0")[:-18], digits.rjust(19, "0")[-18:].rstrip("0")
    return f"{sign}{whole}.{part}" if part else f"{sign}{whole}"


def describe(wei: int) -> str:
    """`wei` with its unit, in the unit that reads best: "1.5 coins", "1 coin", "7 wei", "20 gwei"."""
    if wei and abs(wei) < WEI_PER_GWEI // 1000:
        return f"{wei} wei"
    if wei and abs(wei) < WEI_PER_COIN // 10**6 and wei % (WEI_PER_GWEI // 1000) == 0:
        return f"{format_coins(wei * WEI_PER_GWEI)} gwei"
    return f"{format_coins(wei)} {'coin' if wei == WEI_PER_COIN else 'coins'}"


def rounded(wei: int, *, at_most: bool = False) -> str:
    """An amount for people, in coins, gwei or wei, with at most six decimals.

    Rounded towards zero, so that what is shown can be spent; with `at_most` away from zero, for a cost.
    """
    for smallest in LEAST_SHOWN:
        if abs(wei) >= smallest:
            shown, cut = divmod(abs(wei), smallest)
            shown = (shown + (at_most and cut > 0)) * smallest
            return describe(-shown if wei < 0 else shown)
    return describe(wei)
