# SPDX-License-Identifier: Apache-2.0
"""What a request costs: at most, before it is served, and in truth, after. All amounts are whole wei.

    input fee  = (input - cached) * input price + cached * input price // cached divisor
    output fee = output * output price

Units are tokens; a generated image is a unit of output, a second of audio a unit of input. The most that a request can
cost is reserved first. If the user's free money does not cover it, the bound of the output shrinks to what it covers.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from serving_network.gateway.refusals import RequestRefused
from serving_network.gateway.usage import Usage
from serving_network.messages.prices import Prices, input_fee
from serving_network.money import describe

LEAST_OUTPUT: Final = 256
"""An answer shorter than this is not worth its input: a bound shrinks no further."""


class Tariff(NamedTuple):
    """The prices of a service, applied to what a model server reports."""

    prices: Prices

    def fees(self, usage: Usage) -> tuple[int, int]:
        """The input and the output fee in wei, fractions of a wei dropped."""
        of_input = input_fee(self.prices.input_price, usage.input, usage.cached, self.prices.cached_divisor)
        return of_input, usage.output * self.prices.output_price


FREE: Final = Tariff(Prices(0, 0))
"""For users who are served without payment: their receipts say so by these prices."""


class Bounds(NamedTuple):
    """The most that a request can use: units of input, and of output for each of its choices."""

    input: int
    output: int
    choices: int = 1
    shrinks: bool = False
    """Whether the model server takes a lower bound of the output."""


class Reservation(NamedTuple):
    """The wei that a request can cost at most, and the bounds that it must keep."""

    wei: int
    bounds: Bounds

    def billed(self, usage: Usage) -> Usage:
        """What is billed of a usage: never more than was reserved, whatever the model server reports."""
        bounds = self.bounds
        of_input = min(usage.input, bounds.input)
        return usage._replace(
            input=of_input,
            output=min(usage.output, bounds.output * bounds.choices),
            cached=min(usage.cached, of_input),
        )


def most(tariff: Tariff, bounds: Bounds) -> int:
    """The wei that a request within these bounds costs at most."""
    of_input, of_output = tariff.prices.fees(bounds.input, bounds.output * bounds.choices)
    return of_input + of_output


def reserve(tariff: Tariff, bounds: Bounds, free: int, provider: str) -> Reservation:
    """Reserve for a request out of `free` wei, with a lower bound of the output if that is needed and possible.

    Raises RequestRefused with 402, the missing amount and the command that adds it.
    """
    wei = most(tariff, bounds)
    if wei <= free:
        return Reservation(wei, bounds)
    least = bounds._replace(output=min(bounds.output, LEAST_OUTPUT)) if bounds.shrinks else bounds
    needed = most(tariff, least)
    if needed > free:
        has = f"has {describe(free)} free" if free >= 0 else f"owes {describe(-free)} more than it can spend"
        raise RequestRefused(
            402,
            "insufficient_funds",
            f"This request can cost {describe(needed)}. Your account with the provider {has} and lacks "
            f"{describe(needed - free)}.",
            next_step=f'Fund it: serving ledger fund {provider} "{describe(needed - free)}"',
        )
    per_token = bounds.choices * tariff.prices.output_price
    affordable = bounds._replace(output=(free - bounds.input * tariff.prices.input_price) // per_token)
    return Reservation(most(tariff, affordable), affordable)
