# SPDX-License-Identifier: Apache-2.0
"""What a clear failure is, and a wrapper that accepts no other failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from serving_network.errors import ServingError


def is_clear(error: ServingError) -> None:
    """Assert that the error says what failed and what to do, in text that every terminal can show."""
    assert str(error).strip()
    assert error.next_step
    for text in (str(error), error.cause or "", error.next_step):
        text.encode()
        assert "\x1b" not in text
        assert len(text) < 5_000


def done_or_clear(work: Callable[[], Any]) -> Any:
    """The result of `work`, or None if it failed clearly. Any other exception fails the test."""
    try:
        return work()
    except ServingError as error:
        is_clear(error)
        return None
