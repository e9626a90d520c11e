# SPDX-License-Identifier: Apache-2.0
"""The limits of hosted nodes: which errors ask for patience, and which for a smaller range of blocks.

Hosts agree neither on codes nor on words. EIP-1474 gives -32005 to any exceeded limit, so the message decides there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from serving_network.untrusted import printable

if TYPE_CHECKING:
    from serving_network.errors import RpcError

LIMIT_EXCEEDED: Final = -32005
RATE_LIMIT_CODES: Final = frozenset({429, -32007, -32012, -32016, -32029, -32097})
_REVERTED: Final = 3

_RATE_WORDS: Final = (
    "rate limit",
    "rate-limit",
    "ratelimit",
    "rate exceeded",
    "call rate",
    "request rate",
    "too many request",
    "too many connections",
    "request limit",
    "requests per",
    "requests/",
    "request count exceeded",
    "per second",
    "/second",
    "rps limit",
    "compute unit",
    "throughput",
    "throttl",
    "over capacity",
)
_RANGE_WORDS: Final = (
    "range",
    "blocks",
    "results",
    "logs",
    "more than",
    "response size",
    "limit exceeded",
    "timeout",
    "timed out",
)
_SIZE_WORDS: Final = (*_RANGE_WORDS, "too many", "limit", "exceed", "large", "wide", "size", "at most", "maximum")


def is_rate_limit(code: int, message: str) -> bool:
    """Whether the same request may succeed later. What a contract said when it reverted is no limit of the host."""
    text = message.lower()
    if code == _REVERTED or "revert" in text:
        return False
    if _any_in(text, _RATE_WORDS):
        return True
    if code == LIMIT_EXCEEDED or code in RATE_LIMIT_CODES:
        return not _any_in(text, _RANGE_WORDS)
    return False


def asks_for_smaller_range(refusal: RpcError) -> bool:
    """Whether a request for logs may succeed for fewer blocks. Some hosts give the reason in the error's data only."""
    return _any_in(f"{refusal.message} {printable(refusal.data)}".lower(), _SIZE_WORDS)


def _any_in(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text for word in words)
