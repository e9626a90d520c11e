# SPDX-License-Identifier: Apache-2.0
"""The events of a streamed completion, and the text in them."""

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
        lines, self._rest = lines_of(self._rest + part)
        return "".join(map(_text, lines))


def lines_of(content: bytes) -> tuple[list[bytes], bytes]:
    """The lines that end in this content, and what follows them. Raises ProviderFailure for a line without end."""
    *lines, rest = content.split(b"\n")
    if len(rest) > MAX_LINE:
        raise ProviderFailure(f"The provider sent a line of more than {MAX_LINE} bytes.")
    return lines, rest


def parsed_event(line: bytes) -> Any:
    """The JSON in a line of a stream; None for lines that hold none."""
    name, _, value = line.rstrip(b"\r").partition(b":")
    if name != b"data":
        return None
    try:
        return parse_json(value)
    except ValueError:
        return None


def _text(line: bytes) -> str:
    """The text in the first choice of an event; empty for lines that hold none."""
    try:
        text = parsed_event(line)["choices"][0]["delta"]["content"]
    except (KeyError, IndexError, TypeError):
        return ""
    return text if isinstance(text, str) else ""
