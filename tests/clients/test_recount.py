# SPDX-License-Identifier: Apache-2.0
"""The output of an answer, counted again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving_network.clients.bills.fetching import ProviderFailure
from serving_network.clients.buying.deltas import MAX_LINE
from serving_network.clients.buying.recount import Recount
from serving_network.tokenizing.tokenizer import Tokenizer
from tests.clients.bills.making import receipts

REQUEST = json.dumps({"messages": [{"role": "user", "content": "Hi"}]}).encode()


def recounting(path: str = "/chat/completions", request: bytes = REQUEST) -> Recount:
    return Recount(path, request, Tokenizer(lambda text, _: len(text.split())))


def excess(recount: Recount, billed: int, *, whole: bool = True) -> str | None:
    (one,) = receipts((1, billed))
    return recount.excess(one.receipt, whole=whole)


def event(index: int = 0, **delta: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": index, "delta": delta}]}).encode() + b"\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_all_that_a_stream_generated_is_counted(size: int) -> None:
    call = {"function": {"name": "look", "arguments": "up now"}}
    stream = b": comment\n" + event(content="one " * 50) + event(reasoning_content="two " * 40)
    stream += event(index=1, content="three " * 7) + event(index=1, tool_calls=[call]) + b"data: [DONE]\n\n"
    recount = recounting()
    for start in range(0, len(stream), size):
        recount.feed(stream[start : start + size])
    assert excess(recount, 124) is None  # 99 words, 10 % more, and 8 for each of two choices
    assert excess(recount, 125) == "Receipt 1 bills 125 tokens of output; the tokenizer counts 99."
    assert excess(recount, 125, whole=False) is None, "a client that left has not read all that was delivered"


@pytest.mark.parametrize("part", [{"message": {"content": "one " * 50}}, {"text": "one " * 50}])
def test_an_answer_that_was_not_streamed(part: dict[str, Any]) -> None:
    recount = recounting()
    recount.whole(json.dumps({"choices": [{"index": 0} | part]}).encode())
    assert excess(recount, 63) is None
    assert excess(recount, 64) is not None


@pytest.mark.parametrize("body", [b"", b"[]", b'{"choices": 1}', b'{"choices": [{"index": "x"}]}', b'{"data": []}'])
def test_what_is_no_completion_is_not_counted(body: bytes) -> None:
    recount = recounting()
    recount.whole(body)
    assert excess(recount, 1_000) is None


def test_a_line_without_end() -> None:
    with pytest.raises(ProviderFailure):
        recounting().feed(b"x" * (MAX_LINE + 1))


@pytest.mark.parametrize(("allowed", "path"), [(63, "/completions"), (None, "/chat/completions"), (None, "/responses")])
def test_input_is_counted_where_all_of_it_is_known(allowed: int | None, path: str) -> None:
    """The template of a chat is not known here: it can add any text to each message."""
    text = "one " * 50
    request = {"prompt": text, "input": text, "messages": [{"role": "user", "content": text}]}
    recount = recounting(path, json.dumps(request).encode())
    recount.whole(json.dumps({"choices": [{"text": "one"}], "output": [{"content": [{"text": "one"}]}]}).encode())
    (fits, above) = receipts((63, 1), (64, 1))
    assert recount.excess(fits.receipt, whole=False) is None
    assert recount.excess(above.receipt, whole=False) == (
        allowed and "Receipt 2 bills 64 tokens of input; the tokenizer counts 50."
    )
