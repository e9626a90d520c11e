# SPDX-License-Identifier: Apache-2.0
"""The arguments of events: amounts as coins, addresses by name, times as local time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from serving_network.cli.output import money
from serving_network.cli.sending import plain
from serving_network.cli.times import local_time, span
from serving_network.money import rounded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serving_network.cli.session import Session

AMOUNTS: Final = frozenset(
    {
        "amount",
        "availableBalance",
        "balance",
        "balances",
        "cancelledRefund",
        "fee",
        "inputPrice",
        "outputPrice",
        "paid",
        "pendingRefund",
        "pendingRefunds",
        "pricePerToken",
        "refundedAmount",
        "unsettledAmount",
    }
)
SPANS: Final = frozenset({"lockTime", "newLockTime", "oldLockTime"})


def values_as_json(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments for programs."""
    return {name: _amounts_as_json(value) if name in AMOUNTS else plain(value) for name, value in arguments.items()}


def values_as_text(session: Session, arguments: Mapping[str, Any]) -> str:
    """The arguments for people, on one line."""
    return "  ".join(f"{name}={_text(session, name, value)}" for name, value in arguments.items())


def _amounts_as_json(value: Any) -> Any:
    return [money(one) for one in value] if isinstance(value, (list, tuple)) else money(value)


def _text(session: Session, name: str, value: Any) -> str:
    if isinstance(value, (list, tuple)) and (name in AMOUNTS or name == "users"):
        return f"[{', '.join(_text(session, name, one) for one in value)}]"
    if name in AMOUNTS:
        return rounded(value)
    if name in SPANS:
        return span(value)
    if name == "timestamp":
        return local_time(value)
    shown = plain(value)
    if isinstance(shown, (list, dict)):
        return json.dumps(shown, ensure_ascii=False)
    if not isinstance(shown, str):
        return str(shown)
    if known := session.configuration.name_of(shown):
        return known
    # A text of a stranger may contain what looks like more arguments.
    return json.dumps(shown, ensure_ascii=False) if " " in shown or not shown.isprintable() else shown
