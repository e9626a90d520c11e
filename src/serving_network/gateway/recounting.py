# SPDX-License-Identifier: Apache-2.0
"""Count the usage of a request with the model's tokenizer, where the model server did not report it.

It happens in a thread, since a long prompt takes seconds.
"""

from __future__ import annotations

import asyncio

from serving_network.gateway.metering import StreamMeter
from serving_network.gateway.requests import PaidForm, PaidRequest
from serving_network.gateway.routes import Route
from serving_network.gateway.usage import Usage
from serving_network.messages.receipts import Source
from serving_network.tokenizing.answers import AnswerTexts
from serving_network.tokenizing.prompts import count_prompt
from serving_network.tokenizing.tokenizer import Tokenizer
from serving_network.untrusted import parse_json


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
    texts = AnswerTexts(paid.route.value, tokenizer.count)
    try:
        if paid.route is not Route.EMBEDDINGS:
            texts.add_body(parse_json(body))
            if not texts.choices:
                return None
        return _usage(paid, texts, tokenizer, 0, cut=False)
    except ValueError:
        return None


def _count_stream(
    paid: PaidRequest, meter: StreamMeter, usage: Usage | None, tokenizer: Tokenizer, cut: bool
) -> Usage | None:
    texts = meter.texts()
    if texts is None or not texts.has_text:
        return usage
    try:
        return _usage(paid, texts, tokenizer, 0 if usage is None else usage.input, cut=cut)
    except ValueError:
        return usage


def _usage(paid: PaidRequest, texts: AnswerTexts, tokenizer: Tokenizer, reported_input: int, *, cut: bool) -> Usage:
    """What was read and generated; a text that is echoed was read. Raises ValueError if what was read is unknown."""
    request = paid.content()
    of_input = reported_input or count_prompt(paid.route.value, request, tokenizer)
    echoed = of_input * max(1, request.get("n", 1)) if request.get("echo") else 0
    return Usage(of_input, max(0, texts.tokens(cut=cut) - echoed), source=Source.TOKENIZER)
