# SPDX-License-Identifier: Apache-2.0
"""Streams as model servers send them: the ways in which they report usage, and random ones with random packets."""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import strategies as st

USAGE: Final = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}


def event(content: Any, end: str = "\n", name: str = "") -> bytes:
    """One event; `end` ends its lines."""
    text = content if isinstance(content, str) else json.dumps(content, separators=(",", ":"))
    return f"{f'event: {name}{end}' if name else ''}data: {text}{end}{end}".encode()


def chunk(content: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk of a chat with one choice."""
    delta = {"role": "assistant", "content": ""} if content is None and finish is None else {"content": content or ""}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "choices": [choice], **more}


def usage_chunk(**more: Any) -> dict[str, Any]:
    """The chunk that holds nothing but the usage."""
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "choices": [], "usage": USAGE, **more}


WORDS: Final = ("Hi", ' "you"', " there")


def used(output: int) -> dict[str, int]:
    return {"prompt_tokens": 12, "completion_tokens": output, "total_tokens": 12 + output}


SERVERS: Final[dict[str, list[bytes]]] = {
    "vLLM: a chunk of its own": [
        event(chunk()), *(event(chunk(word)) for word in WORDS), event(chunk("", "stop")), event(usage_chunk()),
        event("[DONE]"),
    ],
    "OpenAI: null until a chunk of its own": [
        event(chunk(usage=None)), *(event(chunk(word, usage=None)) for word in WORDS),
        event(chunk("", "stop", usage=None)), event(usage_chunk()), event("[DONE]"),
    ],
    "vLLM: in every chunk": [
        event(chunk(usage=used(0))), *(event(chunk(word, usage=used(n))) for n, word in enumerate(WORDS, 1)),
        event(chunk("", "stop", usage=used(3))), event(usage_chunk()), event("[DONE]"),
    ],
    "TGI and transformers: in the finish chunk": [
        event(chunk()), *(event(chunk(word)) for word in WORDS), event(chunk("", "stop", usage=USAGE)),
        event("[DONE]"),
    ],
    "llama.cpp: a chunk of its own, with timings": [
        event(chunk()), *(event(chunk(word)) for word in WORDS), event(chunk("", "stop")),
        event(usage_chunk(timings={"prompt_n": 12})), event("[DONE]"),
    ],
    "no [DONE]": [
        event(chunk()), *(event(chunk(word)) for word in WORDS), event(chunk("", "stop")), event(usage_chunk()),
    ],
    "CRLF": [
        event(chunk(), "\r\n"), *(event(chunk(word), "\r\n") for word in WORDS), event(chunk("", "stop"), "\r\n"),
        event(usage_chunk(), "\r\n"), event("[DONE]", "\r\n"),
    ],
    "CR": [
        event(chunk(), "\r"), *(event(chunk(word), "\r") for word in WORDS), event(chunk("", "stop"), "\r"),
        event(usage_chunk(), "\r"), event("[DONE]", "\r"),
    ],
    "comments": [
        b": keep-alive\n\n", event(chunk()), b":\n\n", *(b": x\n" + event(chunk(word)) for word in WORDS),
        event(chunk("", "stop")), event(usage_chunk()), b": bye\n\n", event("[DONE]"),
    ],
    "spaces": [
        event(json.dumps(chunk(), indent=1).replace("\n", " ")),
        *(event(json.dumps(chunk(word))) for word in WORDS), event(json.dumps(chunk("", "stop"))),
        event(json.dumps(usage_chunk()).replace("[]", "[ ]")), event("[DONE]"),
    ],
    "several data lines, no space": [
        b'data:{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n',
        event(chunk(WORDS[1])), event(chunk(WORDS[2])), event(chunk("", "stop")),
        b'data:{"choices":[],\ndata:"usage":{"prompt_tokens":12,\ndata:"completion_tokens":3}}\n\n', b"data:[DONE]\n\n",
    ],
}  # fmt: skip
"""Each: a chat of 12 tokens of input and three events with text."""


def without_usage_chunk(events: list[bytes]) -> list[bytes]:
    """The events that a client gets that did not ask for the usage."""
    return [one for one in events if not (b'"usage":{' in one.replace(b" ", b"") and is_empty(one))]


def is_empty(one: bytes) -> bool:
    return b'"choices":[]' in one.replace(b" ", b"")


LETTERS: Final = 'ab1 "\\/\n\r\t{}[]:,\x00\x7f\x85\xe9\u2028\ud7ff\U0001f600'
"""Characters that JSON, events or terminals treat specially. Drawing from all of Unicode is slow at first."""

TEXTS = st.text(LETTERS, max_size=20) | st.sampled_from(
    ['"usage":{"prompt_tokens":1}', '"choices":[]', "\n\n", "data: [DONE]", '\\"usage\\":{', "\r\n\r\n", ""]
)
EVENTS = st.one_of(
    TEXTS.map(lambda text: event(chunk(text))),
    TEXTS.map(lambda text: event(json.dumps(chunk(text), ensure_ascii=False))),
    st.integers(0, 9).map(lambda n: event(chunk("x", usage=used(n)))),
    st.just(event(usage_chunk())),
    st.just(event(chunk(usage=None))),
    st.just(event("[DONE]")),
    st.just(event("not JSON")),
    st.just(event({"choices": [], "usage": None})),
    st.just(event({"choices": [], "prompt_filter_results": []})),
    st.just(event({"error": {"message": "overloaded"}})),
    st.just(b": keep-alive\n\n"),
    st.just(b"event: ping\nretry: 5\n\n"),
)


@st.composite
def packets_of(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """`data` cut anywhere, also into single bytes."""
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=30)))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return [one for one in pieces if one]
