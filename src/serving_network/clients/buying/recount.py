# SPDX-License-Identifier: Apache-2.0
"""Count the output of an answer again, with the model's tokenizer, and notice if more was billed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from serving_network.clients.buying.deltas import lines_of, parsed_event
from serving_network.errors import ConfigurationError
from serving_network.untrusted import parse_json

if TYPE_CHECKING:
    from pathlib import Path

    from serving_network.messages.receipts import Receipt

Count = Callable[[str], int]

TOLERATED: Final = 0.1
SPECIAL_TOKENS: Final = 8
"""Tokens for a choice that are not text: the end of a turn, the start of a tool's call."""


class TokenizerUnusable(ConfigurationError):
    """The tokenizer's file cannot be read, or the extra that reads it is not installed."""


def load_tokenizer(path: Path) -> Count:
    """Count tokens as the tokenizer.json at `path` does. Raises TokenizerUnusable."""
    try:
        import tokenizers
    except ImportError as error:
        raise TokenizerUnusable(
            "Tokens are counted by a library that is not installed.",
            next_step="Install the extra serving-network[tokenizer].",
        ) from error
    try:
        loaded: Any = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:
        raise TokenizerUnusable(
            f"{path} is not a tokenizer.", cause=str(error), next_step="Pass the model's tokenizer.json."
        ) from error
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)


class Recount:
    """Collects what a model generated in a completion, streamed or not."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}
        self._rest = b""

    def feed(self, part: bytes) -> None:
        """Take a part of a stream. Raises ProviderFailure for a line without end."""
        lines, self._rest = lines_of(self._rest + part)
        for line in lines:
            self._add(parsed_event(line), "delta")

    def whole(self, body: bytes) -> None:
        """Take an answer that was not streamed."""
        try:
            self._add(parse_json(body), "message")
        except ValueError:
            return

    def excess(self, receipt: Receipt, count: Count) -> str | None:
        """What is wrong with the count that was billed; None if it fits, or if the answer is not a completion."""
        if not self._texts:
            return None
        counted = sum(map(count, self._texts.values()))
        allowed = counted * (1 + TOLERATED) + SPECIAL_TOKENS * len(self._texts)
        if receipt.output_tokens <= allowed:
            return None
        billed = f"Receipt {receipt.sequence} bills {receipt.output_tokens} tokens of output"
        return f"{billed}; the tokenizer counts {counted}."

    def _add(self, completion: Any, part: str) -> None:
        try:
            for choice in completion["choices"]:
                number = int(choice.get("index", 0))
                self._texts[number] = self._texts.get(number, "") + "".join(_generated(choice.get(part) or choice))
        except (KeyError, TypeError, ValueError, AttributeError):
            return


def _generated(part: Any) -> list[str]:
    """All that a model generated in a delta, a message or the choice of a completion."""
    found = [part.get(name) for name in ("content", "reasoning_content", "reasoning", "refusal", "text")]
    for call in part.get("tool_calls") or ():
        function = call.get("function") or {}
        found += [function.get("name"), function.get("arguments")]
    return [one for one in found if isinstance(one, str)]
