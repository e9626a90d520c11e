# SPDX-License-Identifier: Apache-2.0
"""The text in a streamed chat completion."""

from __future__ import annotations

from typing import Any, Final

from serving_network.clients.bills.fetching import ProviderFailure
from serving_network.untrusted import parse_json

MAX_LINE: Final = 1024 * 1024


class Deltas:
    """Takes the bytes of a stream as they arrive, and returns the text that they complete."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, part: bytes) -> str:
        """The text in the lines that this part completes. Raises ProviderFailure for a line without end."""
        *lines, self._rest = (self._rest + part).split(b"\n")
        if len(self._rest) > MAX_LINE:
            raise ProviderFailure(f"The provider sent a line of more than {MAX_LINE} bytes.")
        return "".join(map(_text, lines))


def _text(line: bytes) -> str:
    """The text in one line of the stream; empty for lines that hold none."""
    name, _, value = line.rstrip(b"\r").partition(b":")
    if name != b"data" or value.strip() == b"[DONE]":
        return ""
    try:
        return text_in(parse_json(value), "delta")
    except ValueError:
        return ""


def text_in(completion: Any, part: str) -> str:
    """The text in the first choice of a completion; `part` is "delta" in a stream and "message" elsewhere."""
    try:
        text = completion["choices"][0][part]["content"]
    except (KeyError, IndexError, TypeError):
        return ""
    return text if isinstance(text, str) else ""
