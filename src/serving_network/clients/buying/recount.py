# SPDX-License-Identifier: Apache-2.0
"""Count an answer again, with the model's tokenizer, and notice if more was billed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from serving_network.clients.buying.deltas import lines_of, parsed_event
from serving_network.tokenizing.answers import AnswerTexts
from serving_network.tokenizing.prompts import count_prompt, is_counted_exactly
from serving_network.untrusted import parse_json

if TYPE_CHECKING:
    from serving_network.messages.receipts import Receipt
    from serving_network.tokenizing.tokenizer import Tokenizer

TOLERATED: Final = 0.1
SPECIAL_TOKENS: Final = 8
"""Tokens for a choice that are not text: the end of a turn, the start of a tool's call. As many for the input."""


class Recount:
    """One request to a path under /v1, and what a model generated for it, streamed or not."""

    def __init__(self, path: str, request: bytes, tokenizer: Tokenizer) -> None:
        self._path = path
        self._request = request
        self._tokenizer = tokenizer
        self._texts = AnswerTexts(path, tokenizer.count)
        self._rest = b""

    def feed(self, part: bytes) -> None:
        """Take a part of a stream. Raises ProviderFailure for a line without end."""
        lines, self._rest = lines_of(self._rest + part)
        for line in lines:
            self._texts.add_event(parsed_event(line))

    def whole(self, body: bytes) -> None:
        """Take an answer that was not streamed."""
        try:
            self._texts.add_body(parse_json(body))
        except ValueError:
            return

    def excess(self, receipt: Receipt, *, whole: bool) -> str | None:
        """What is wrong with the counts that were billed; None if they fit, or if the answer is not generated text.

        The output is compared only if the `whole` answer was read: of a stream that its reader cut, the provider sent
        more than arrived. The input is compared only where all of it can be counted.
        """
        if not self._texts.choices:
            return None
        found = None
        if whole:
            output = self._texts.tokens()
            found = _compared(receipt, "output", receipt.output_tokens, output, SPECIAL_TOKENS * self._texts.choices)
        if found is None and (read := self._input()) is not None:
            found = _compared(receipt, "input", receipt.input_tokens, read, SPECIAL_TOKENS)
        return found

    def _input(self) -> int | None:
        try:
            request = parse_json(self._request)
            if is_counted_exactly(self._path, request, self._tokenizer):
                return count_prompt(self._path, request, self._tokenizer)
        except (ValueError, TypeError, AttributeError):
            pass
        return None


def _compared(receipt: Receipt, what: str, billed: int, counted: int, beside: int) -> str | None:
    if billed <= counted * (1 + TOLERATED) + beside:
        return None
    return f"Receipt {receipt.sequence} bills {billed} tokens of {what}; the tokenizer counts {counted}."
