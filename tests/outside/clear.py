# SPDX-License-Identifier: Apache-2.0
"""What a clear failure is, and a harness that lets no other one out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from serving_network.errors import ServingError


def is_clear(error: ServingError) -> None:
    """It says what happened and what to do, in words that every terminal can show."""
    assert str(error).strip()
    assert error.next_step
    for text in (str(error), error.cause or "", error.next_step):
        text.encode()
        assert "\x1b" not in text
        assert len(text) < 5_000


def done_or_clear(work: Callable[[], Any]) -> Any:
    """What `work` returns; None when it failed clearly. Any other exception goes through, and fails the test."""
    try:
        return work()
    except ServingError as error:
        is_clear(error)
        return None
