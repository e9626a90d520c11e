# SPDX-License-Identifier: Apache-2.0
"""The usage in whole bodies, route by route, and what is not one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_network.gateway import usage as usage_module
from serving_network.gateway.routes import Route
from serving_network.gateway.usage import MAX_COUNT, MAX_SECONDS, Usage, read_body
from tests.gateway.streams import LETTERS
from tests.messages.vectors import ANSWER

NAMES = st.sampled_from(
    ["usage", "response", "message", "data", "type", "seconds", "duration", "prompt_tokens", "completion_tokens",
     "input_tokens", "output_tokens", "prompt_tokens_details", "cached_tokens", "cache_read_input_tokens"]
)  # fmt: skip
TOKENS = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
SRT = b"""\
1
00:00:00,000 --> 00:00:02,500
Hello

2
00:00:02,500 --> 00:59:00,000
see 00:00:01,000 --> 00:00:01,000

3
00:59:00,000 --> 01:02:07,400
"""
VTT = b"""\
WEBVTT

00:00.000 --> 00:02.500
Hello

00:02.500 --> 00:05.000
out

00:05.000 --> 00:07.600 align:start
there
"""


@pytest.mark.parametrize(
    ("route", "content", "usage"),
    [
        (Route.CHAT, {"usage": TOKENS}, Usage(12, 5)),
        (Route.COMPLETIONS, {"usage": TOKENS}, Usage(12, 5)),
        (Route.CHAT, {"usage": TOKENS | {"prompt_tokens_details": {"cached_tokens": 8}}}, Usage(12, 5, 8)),
        (Route.CHAT, {"usage": TOKENS | {"prompt_tokens_details": {"cached_tokens": 99}}}, Usage(12, 5, 12)),
        (Route.CHAT, {"usage": TOKENS | {"prompt_tokens_details": None}}, Usage(12, 5)),
        (Route.CHAT, {"usage": {"prompt_tokens": 12}}, Usage(12, 0)),
        (Route.RESPONSES, {"usage": {"input_tokens": 12, "output_tokens": 5}}, Usage(12, 5)),
        (
            Route.RESPONSES,
            {"usage": {"input_tokens": 12, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 3}}},
            Usage(12, 5, 3),
        ),
        (Route.MESSAGES, {"usage": {"input_tokens": 12, "output_tokens": 5}}, Usage(12, 5)),
        (
            Route.MESSAGES,
            {
                "usage": {
                    "input_tokens": 1,
                    "cache_read_input_tokens": 8,
                    "cache_creation_input_tokens": 3,
                    "output_tokens": 5,
                }
            },
            Usage(12, 5, 8),
        ),
        (Route.EMBEDDINGS, {"data": [], "usage": {"prompt_tokens": 12, "total_tokens": 12}}, Usage(12, 0)),
        (Route.EMBEDDINGS, {"usage": TOKENS}, Usage(12, 0)),
        (Route.EMBEDDINGS, {"usage": {"prompt_tokens": 12}, "data": [0.5] * 3000}, Usage(12, 0)),
        (Route.IMAGES, {"created": 1, "data": [{"url": "u"}, {"b64_json": "AA=="}]}, Usage(0, 2)),
        (Route.IMAGE_EDITS, {"data": [{}], "usage": {"input_tokens": 9, "output_tokens": 9}}, Usage(0, 1)),
        (Route.TRANSCRIPTIONS, {"text": "Hi", "usage": {"type": "duration", "seconds": 7}}, Usage(7, 0)),
        (Route.TRANSCRIPTIONS, {"usage": {"type": "tokens", "input_tokens": 12, "output_tokens": 5}}, Usage(12, 5)),
        (Route.TRANSCRIPTIONS, {"text": "Hi", "duration": 7.5}, Usage(8, 0)),
        (Route.TRANSCRIPTIONS, {"text": "Hi", "duration": 7.4}, Usage(7, 0)),
        (Route.TRANSCRIPTIONS, {"text": "Hi", "duration": "8.470000267028809"}, Usage(8, 0)),
        (Route.TRANSCRIPTIONS, {"text": "", "duration": 0}, Usage(1, 0)),
        (Route.TRANSCRIPTIONS, {"duration": 10**9}, Usage(MAX_SECONDS, 0)),
    ],
)
def test_the_usage_of_a_body(route: Route, content: dict[str, Any], usage: Usage) -> None:
    assert read_body(route, json.dumps(content).encode()) == usage
    assert read_body(route, json.dumps(content, indent=2).encode()) == usage


def test_the_usage_of_the_vector() -> None:
    assert read_body(Route.CHAT, ANSWER) == Usage(12, 5)


@pytest.mark.parametrize(("body", "seconds"), [(SRT, 3727), (VTT, 8), (SRT.replace(b"\n", b"\r\n"), 3727)])
def test_subtitles_last_to_the_end_of_their_last_cue(body: bytes, seconds: int) -> None:
    assert read_body(Route.TRANSCRIPTIONS, body) == Usage(seconds, 0)


WRONG = [None, "12", -1, 1.0, True, MAX_COUNT + 1, 10**400, [12], {"a": 1}]


@pytest.mark.parametrize("route", [Route.CHAT, Route.RESPONSES, Route.MESSAGES, Route.EMBEDDINGS])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_count_is_a_whole_number(route: Route, wrong: Any) -> None:
    names = {
        Route.CHAT: ("prompt_tokens", "completion_tokens"),
        Route.EMBEDDINGS: ("prompt_tokens",),
    }.get(route, ("input_tokens", "output_tokens"))
    for name in names:
        usage = dict.fromkeys(names, 0 if wrong is None else 7) | {name: wrong}
        assert read_body(route, json.dumps({"usage": usage}).encode()) is None


@pytest.mark.parametrize(
    ("route", "body"),
    [
        *((route, body) for route in Route for body in (b"", b"null", b"[]", b"{}", b'{"usage":[]}')),
        (Route.CHAT, b'{"usage":{}}'),
        (Route.CHAT, b"Hi"),
        *((route, b"[" * 500_000) for route in Route),
        (Route.CHAT, b'{"usage":{"prompt_tokens":0,"completion_tokens":0}}'),
        (Route.CHAT, b'{"choices":[{"message":{"content":"\\"usage\\":{\\"prompt_tokens\\":1}"}}]}'),
        (Route.RESPONSES, b'{"tools":[{"parameters":{"usage":{"input_tokens":1,"output_tokens":1}}}]}'),
        (Route.EMBEDDINGS, b'{"data":["usage"]}'),
        (Route.IMAGES, b'{"data":[]}'), (Route.IMAGES, b'{"data":"ab"}'),
        *((Route.TRANSCRIPTIONS, body) for body in (
            b'{"duration":-1}', b'{"duration":true}', b'{"duration":"x"}', b'{"duration":1e999}', b'{"duration":NaN}',
            b'{"duration":"nan"}', b'{"duration":"inf"}', b'{"usage":{"type":"duration","seconds":null}}', b"\xff\xfe",
            b"00:00:01,000 -> 00:00:02,000", b"text 00:00:01,000 --> 00:00:02,000",
        )),
    ],
)  # fmt: skip
def test_what_is_not_a_usage(route: Route, body: bytes) -> None:
    assert read_body(route, body) is None


def test_the_usage_of_embeddings_is_found_without_reading_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(usage_module, "parse_json")
    body = b'{"data":[' + b"0.5," * 1_000_000 + b'0],"usage":{"prompt_tokens":12}}'
    assert read_body(Route.EMBEDDINGS, body) == Usage(12, 0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(LETTERS, max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)


@given(st.sampled_from(Route), JSON)
def test_any_json_has_a_usage_that_can_be_billed_or_none(route: Route, content: Any) -> None:
    usage = read_body(route, json.dumps(content).encode())
    assert usage is None or (0 <= usage.cached <= usage.input and usage.output >= 0 and usage.input + usage.output > 0)
