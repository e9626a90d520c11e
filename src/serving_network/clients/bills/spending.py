# SPDX-License-Identifier: Apache-2.0
"""What a user spent, by provider, model, key or day."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from serving_network.messages.session_tokens import SESSION_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from serving_network.messages.receipts import SignedReceipt

GROUPS: dict[str, Callable[[SignedReceipt], str]] = {
    "provider": lambda one: one.receipt.provider,
    "model": lambda one: one.disclosure.model if one.disclosure else "unknown",
    "key": lambda one: "session" if one.receipt.token_id == SESSION_ID else f"key {one.receipt.token_id}",
    "day": lambda one: datetime.fromtimestamp(one.receipt.time).astimezone().strftime("%Y-%m-%d"),
}
"""What receipts are grouped by. Days are local."""


class Spent(NamedTuple):
    """The spending of one group, in wei."""

    name: str
    requests: int
    wei: int


def spending(receipts: Iterable[SignedReceipt], group: str) -> list[Spent]:
    """What was spent: by day in their order, by anything else the highest first."""
    name = GROUPS[group]
    requests: Counter[str] = Counter()
    wei: Counter[str] = Counter()
    for one in receipts:
        requests[name(one)] += 1
        wei[name(one)] += one.receipt.fee
    found = [Spent(one, requests[one], wei[one]) for one in requests]
    return sorted(found, key=lambda one: one.name if group == "day" else (-one.wei, one.name))
