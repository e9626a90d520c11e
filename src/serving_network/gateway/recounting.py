# SPDX-License-Identifier: Apache-2.0
"""Count the usage of a request with the model's tokenizer, where the model server did not report it.

It happens in a thread, since a long prompt takes seconds.
"""

from __future__ import annotations

import asyncio
from typing import Final

from serving_network.gateway.metering import StreamMeter
from serving_network.gateway.requests import PaidForm, PaidRequest
from serving_network.gateway.routes import Route
from serving_network.gateway.usage import Usage
from serving_network.messages.receipts import Source
from serving_network.tokenizing.answers import AnswerTexts
from serving_network.tokenizing.prompts import count_prompt
from serving_network.tokenizing.tokenizer import Tokenizer
from serving_network.untrusted import parse_json

_INCOMPLETE: Final = "\ufffd"
"""Stands for the bytes of a character that the model did not finish; a tokenizer counts up to three tokens for it."""


def texts_of(route: Route, tokenizer: Tokenizer) -> AnswerTexts:
    """Collects the text of an answer that is billed."""
    return AnswerTexts(route.value, lambda text: tokenizer.count(text.replace(_INCOMPLETE, "")))


async def count_body(paid: PaidRequest | PaidForm, body: bytes, tokenizer: Tokenizer | None) -> Usage | None:
    """The usage of an answer that was not streamed; None if it is not generated text, nor embeddings of text."""
    if tokenizer is None or not isinstance(paid, PaidRequest):
        return None
    return await asyncio.to_thread(_count_body, paid, body, tokenizer)


async def count_stream(
    paid: PaidRequest | PaidForm, meter: StreamMeter, usage: Usage | None, tokenizer: Tokenizer | None, *, cut: bool
) -> Usage | None:
    """The usage of what a client received of a stream: `usage`, unless the meter had to count it itself."""
    if tokenizer is None or not isinstance(paid, PaidRequest) or (usage is not None and usage.source is Source.USAGE):
        return usage
    return await asyncio.to_thread(_count_stream, paid, meter, usage, tokenizer, cut)


def _count_body(paid: PaidRequest, body: bytes, tokenizer: Tokenizer) -> Usage | None:
    texts = texts_of(paid.route, tokenizer)
    try:
        if paid.route is not Route.EMBEDDINGS:
            texts.add_body(parse_json(body))
            if not texts.choices:
                return None
        return _usage(paid, texts, tokenizer, Usage(0, 0), cut=False)
    except ValueError:
        return None


def _count_stream(
    paid: PaidRequest, meter: StreamMeter, usage: Usage | None, tokenizer: Tokenizer, cut: bool
) -> Usage | None:
    texts = meter.texts()
    if texts is None or not texts.has_text:
        return usage
    try:
        return _usage(paid, texts, tokenizer, usage or Usage(0, 0), cut=cut)
    except ValueError:
        return usage


def _usage(paid: PaidRequest, texts: AnswerTexts, tokenizer: Tokenizer, metered: Usage, *, cut: bool) -> Usage:
    """What was read and generated, at least what the meter knows; a text that is echoed was read.

    Raises ValueError if what was read is unknown.
    """
    request = paid.content()
    of_input = metered.input or count_prompt(paid.route.value, request, tokenizer)
    output = max(texts.tokens(cut=cut), metered.output)
    echoed = of_input * max(1, request.get("n", 1)) if request.get("echo") else 0
    return Usage(of_input, max(0, output - echoed), source=Source.TOKENIZER)
