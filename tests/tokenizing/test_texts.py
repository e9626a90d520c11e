# SPDX-License-Identifier: Apache-2.0
"""Which text of requests and answers is counted, by route."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_network.tokenizing import answers
from serving_network.tokenizing.answers import AnswerTexts
from serving_network.tokenizing.prompts import count_prompt, is_counted_exactly
from serving_network.tokenizing.tokenizer import Tokenizer

TOKENIZER = Tokenizer(lambda text, special: len(text.split()) + special)
CHAT, TEXT, RESPONSES, MESSAGES = "/chat/completions", "/completions", "/responses", "/messages"
CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"to": "up"}'}}


@pytest.mark.parametrize(
    ("path", "request_", "tokens"),
    [
        (TEXT, {"prompt": "one two"}, 3),
        (TEXT, {"prompt": ["one two", "three"], "suffix": "four"}, 6),
        (TEXT, {"prompt": [5, 6, 7]}, 3),
        (TEXT, {"prompt": [[5, 6], [7]]}, 3),
        ("/embeddings", {"input": "one two"}, 3),
        (CHAT, {"messages": [{"role": "user", "content": "one two"}]}, 2 + 6),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "one two"}]}]}, 2 + 6),
        (CHAT, {"messages": [{"role": "assistant", "tool_calls": [CALL]}]}, 2 + 6),
        (RESPONSES, {"input": "one two", "instructions": "three"}, 3 + 9),
        (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_text", "text": "one"}]}]}, 1 + 6),
        (RESPONSES, {"input": [{"type": "function_call_output", "call_id": "a", "output": "one two"}]}, 2 + 6),
        (RESPONSES, {"input": [{"type": "function_call", "name": "look", "arguments": "{}"}]}, 2 + 6),
        (MESSAGES, {"system": "one", "messages": [{"role": "user", "content": "two"}]}, 2 + 9),
        (
            MESSAGES,
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": "one two"}]}]},
            2 + 6,
        ),
        (
            MESSAGES,
            {"messages": [{"role": "user", "content": [{"type": "tool_use", "name": "a", "input": {}}]}]},
            2 + 6,
        ),
    ],
)
def test_the_text_of_a_request(path: str, request_: dict[str, Any], tokens: int) -> None:
    assert count_prompt(path, request_, TOKENIZER) == tokens


def test_media_count_nothing() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    request = {"messages": [{"role": "user", "content": [{"type": "text", "text": "one"}, picture]}]}
    assert count_prompt(CHAT, request, TOKENIZER) == 1 + 6
    assert not is_counted_exactly(CHAT, request, Tokenizer(lambda *_: 1, object()))  # type: ignore[arg-type]


@pytest.mark.parametrize("request_", [{}, {"prompt": 7}, {"prompt": []}, {"prompt": [None]}])
def test_a_prompt_that_is_not_text(request_: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not text"):
        count_prompt(TEXT, request_, TOKENIZER)


def words(path: str) -> AnswerTexts:
    return AnswerTexts(path, lambda text: len(text.split()))


@pytest.mark.parametrize(
    ("path", "events", "choices", "tokens"),
    [
        (CHAT, [{"choices": [{"delta": {"content": "one "}}, {"index": 1, "delta": {"content": "a b"}}]}], 2, 3),
        (CHAT, [{"choices": [{"delta": {"reasoning": "one", "reasoning_content": "one"}}]}], 1, 1),
        (CHAT, [{"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "one two"}}]}}]}], 1, 2),
        (TEXT, [{"choices": [{"index": 0, "text": "one "}]}, {"choices": [{"index": 0, "text": "two"}]}], 1, 2),
        (RESPONSES, [{"type": "response.output_text.delta", "output_index": 0, "delta": "one two"}], 1, 2),
        (RESPONSES, [{"type": "response.output_text.done", "output_index": 0, "text": "one two"}], 0, 0),
        (MESSAGES, [{"type": "content_block_delta", "index": 0, "delta": {"text": "one two"}}], 1, 2),
        (MESSAGES, [{"type": "message_start", "message": {"content": []}}], 0, 0),
        (CHAT, [None, [], {"choices": 1}, {"choices": [{"index": "x"}]}, {"error": {}}], 0, 0),
    ],
)  # fmt: skip
def test_the_text_of_a_stream(path: str, events: list[Any], choices: int, tokens: int) -> None:
    texts = words(path)
    for event in events:
        texts.add_event(event)
    assert (texts.choices, texts.tokens(), texts.has_text) == (choices, tokens, tokens > 0)


@pytest.mark.parametrize(
    ("path", "body", "tokens"),
    [
        (CHAT, {"choices": [{"message": {"content": "one two ", "tool_calls": [CALL]}}]}, 4),
        (TEXT, {"choices": [{"text": "one two"}]}, 2),
        (RESPONSES, {"output": [{"type": "message", "content": [{"type": "output_text", "text": "one two"}]}]}, 2),
        (RESPONSES, {"output": [{"type": "function_call", "name": "look ", "arguments": "one two"}]}, 3),
        (MESSAGES, {"content": [{"text": "one"}, {"type": "tool_use", "name": "a ", "input": {"b": 1}}]}, 4),
    ],
)  # fmt: skip
def test_the_text_of_an_answer(path: str, body: dict[str, Any], tokens: int) -> None:
    texts = words(path)
    texts.add_body(body)
    assert texts.tokens() == tokens


@given(st.lists(st.tuples(st.integers(0, 2), st.text("ab ", max_size=30)), max_size=40), st.integers(1, 60))
def test_pieces_never_count_more_than_the_whole(deltas: list[tuple[int, str]], piece: int) -> None:
    whole: dict[int, str] = {}
    texts = words(CHAT)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(answers, "PIECE", piece)
        for index, text in deltas:
            texts.add_event({"choices": [{"index": index, "delta": {"content": text}}]})
            whole[index] = whole.get(index, "") + text
    total = sum(len(text.split()) for text in whole.values())
    folds = sum(len(text) for text in whole.values()) // piece
    assert total - 2 * len(whole) * (folds + 1) <= texts.tokens() <= total
    assert max(0, texts.tokens() - len(whole)) <= texts.tokens(cut=True) <= texts.tokens()
