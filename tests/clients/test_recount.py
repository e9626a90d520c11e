# SPDX-License-Identifier: Apache-2.0
"""The output of an answer, counted again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from serving_network.clients.bills.fetching import ProviderFailure
from serving_network.clients.buying.deltas import MAX_LINE
from serving_network.clients.buying.recount import Recount, TokenizerUnusable, load_tokenizer
from tests.clients.bills.making import receipts


def words(text: str) -> int:
    return len(text.split())


def excess(recount: Recount, billed: int) -> str | None:
    (one,) = receipts((1, billed))
    return recount.excess(one.receipt, words)


def event(index: int = 0, **delta: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": index, "delta": delta}]}).encode() + b"\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_all_that_a_stream_generated_is_counted(size: int) -> None:
    call = {"function": {"name": "look", "arguments": "up now"}}
    stream = b": comment\n" + event(content="one " * 50) + event(reasoning_content="two " * 40)
    stream += event(index=1, content="three " * 7) + event(index=1, tool_calls=[call]) + b"data: [DONE]\n\n"
    recount = Recount()
    for start in range(0, len(stream), size):
        recount.feed(stream[start : start + size])
    assert excess(recount, 124) is None  # 99 words, 10 % more, and 8 for each of two choices
    assert excess(recount, 125) == "Receipt 1 bills 125 tokens of output; the tokenizer counts 99."


@pytest.mark.parametrize("part", [{"message": {"content": "one " * 50}}, {"text": "one " * 50}])
def test_an_answer_that_was_not_streamed(part: dict[str, Any]) -> None:
    recount = Recount()
    recount.whole(json.dumps({"choices": [{"index": 0} | part]}).encode())
    assert excess(recount, 63) is None
    assert excess(recount, 64) is not None


@pytest.mark.parametrize("body", [b"", b"[]", b'{"choices": 1}', b'{"choices": [{"index": "x"}]}', b'{"data": []}'])
def test_what_is_no_completion_is_not_counted(body: bytes) -> None:
    recount = Recount()
    recount.whole(body)
    assert excess(recount, 1_000) is None


def test_a_line_without_end() -> None:
    with pytest.raises(ProviderFailure):
        Recount().feed(b"x" * (MAX_LINE + 1))


def test_the_library_and_the_file_must_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(TokenizerUnusable, match="not installed"):
        load_tokenizer(tmp_path)


def test_a_real_tokenizer(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordLevel({"one": 0, "two": 1, "[UNK]": 2}, unk_token="[UNK]")
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    assert load_tokenizer(path)("one two three") == 3
    path.write_text("{}")
    with pytest.raises(TokenizerUnusable, match="not a tokenizer"):
        load_tokenizer(path)
