# SPDX-License-Identifier: Apache-2.0
"""The arguments of events and calls: amounts with their unit, times as local time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from serving_network.cli.console.output import money
from serving_network.cli.console.times import local_time
from serving_network.counting import span
from serving_network.money import describe, rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

AMOUNTS: Final = frozenset(
    {
        "amount",
        "availableBalance",
        "balance",
        "balances",
        "cancelRetrievingAmount",
        "cancelledRefund",
        "fee",
        "inputPrice",
        "outputPrice",
        "paid",
        "pendingRefund",
        "pendingRefunds",
        "pricePerToken",
        "refundedAmount",
        "taskFee",
        "totalFee",
        "unsettledAmount",
    }
)
SPANS: Final = frozenset({"_locktime", "lockTime", "newLockTime", "oldLockTime"})
TIMES: Final = frozenset({"timestamp", "updatedAt"})


def values_as_json(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments for programs."""
    return {name: _amounts_as_json(value) if name in AMOUNTS else plain(value) for name, value in arguments.items()}


def values_as_text(name_of: Callable[[str], str | None], arguments: Mapping[str, Any]) -> str:
    """The arguments of an event for people, on one line: addresses by name, amounts rounded."""
    return "  ".join(f"{name}={_text(name, value, rounded, name_of)}" for name, value in arguments.items())


def call_lines(arguments: Mapping[str, Any], indent: str = "  ") -> Iterator[str]:
    """The arguments of a call for people, one a line: whole addresses, exact amounts."""
    for name, value in arguments.items():
        if isinstance(value, dict):
            yield f"{indent}{name}"
            yield from call_lines(value, f"{indent}  ")
        else:
            yield f"{indent}{name} = {_text(name, value, describe, lambda _: None)}"


def plain(value: Any) -> Any:
    """An argument for JSON: bytes as 0x..., and whole numbers as text where JavaScript would round them."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if value < 2**53 else str(value)
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value


def _amounts_as_json(value: Any) -> Any:
    return [money(one) for one in value] if isinstance(value, (list, tuple)) else money(value)


def _text(name: str, value: Any, amount: Callable[[int], str], name_of: Callable[[str], str | None]) -> str:
    if isinstance(value, (list, tuple)) and (name in AMOUNTS or name == "users"):
        return f"[{', '.join(_text(name, one, amount, name_of) for one in value)}]"
    if name in AMOUNTS:
        return amount(value)
    if name in SPANS:
        return span(value)
    if name in TIMES:
        return local_time(value)
    shown = plain(value)
    if isinstance(shown, (list, dict)):
        return json.dumps(shown, ensure_ascii=False)
    if not isinstance(shown, str):
        return str(shown)
    if known := name_of(shown):
        return known
    # A text of a stranger may contain what looks like more arguments.
    return json.dumps(shown, ensure_ascii=False) if not shown or " " in shown or not shown.isprintable() else shown
