# SPDX-License-Identifier: Apache-2.0
"""Media in messages: data passes and is counted; URLs, ids and unknown parts are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving_network.gateway.content import Media, read_media
from serving_network.gateway.refusals import RequestRefused
from serving_network.gateway.requests import Terms, read_request
from serving_network.gateway.routes import Route

DATA = "data:image/png;base64,iVBORw0KGgo="
VIDEO = "data:video/mp4;base64,iVBORw0KGgo="
BASE64 = "iVBORw0KGgo="
FORBIDDEN = [
    "http://10.0.0.1/latest/meta-data", "https://example.org/cat.png", "HTTP://x", "file:///etc/passwd", "/etc/passwd",
    "ftp://x", " data:x", "DATA:x", "", "//x", None, 1, ["data:x"], {"a": "data:x"},
]  # fmt: skip


def message(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": list(parts)}]}


def item(*parts: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": list(parts)}]}


def refused(route: Route, body: dict[str, Any], *, by_url: bool = False) -> str:
    with pytest.raises(RequestRefused) as refusal:
        read_media(route, body, by_url=by_url)
    assert refusal.value.status == 400
    assert refusal.value.param
    return refusal.value.code


@pytest.mark.parametrize(
    ("route", "body", "media"),
    [
        (Route.CHAT, {"messages": [{"role": "assistant", "content": None, "tool_calls": []}]}, Media()),
        (
            Route.CHAT,
            message({"type": "text", "text": "see http://x", "cache_control": {"type": "ephemeral"}}),
            Media(),
        ),
        (Route.CHAT, message({"type": "image_url", "image_url": {"url": DATA, "detail": "low"}}), Media(1, len(DATA))),
        (Route.CHAT, message({"type": "image_url", "image_url": DATA}), Media(1, len(DATA))),
        (Route.CHAT, message({"type": "video_url", "video_url": {"url": VIDEO}}), Media(1)),
        (Route.CHAT, message({"type": "audio_url", "audio_url": {"url": VIDEO}}), Media(1)),
        (
            Route.CHAT,
            message({"type": "input_audio", "input_audio": {"data": BASE64, "format": "wav"}}),
            Media(1),
        ),
        (Route.CHAT, message({"type": "file", "file": {"file_data": DATA, "filename": "a"}}), Media(1)),
        (
            Route.CHAT,
            message(*[{"type": "image_url", "image_url": {"url": DATA}}] * 2, {"type": "text", "text": "?"}),
            Media(2, 2 * len(DATA)),
        ),
        (Route.RESPONSES, {"input": "http://x"}, Media()),
        (Route.RESPONSES, item({"type": "input_text", "text": "hi"}), Media()),
        (Route.RESPONSES, item({"type": "input_image", "image_url": DATA, "detail": "auto"}), Media(1, len(DATA))),
        (Route.RESPONSES, item({"type": "input_file", "file_data": DATA, "filename": "a"}), Media(1)),
        (
            Route.RESPONSES,
            {
                "input": [
                    {"type": "message", "role": "user", "content": "hi"},
                    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
                    {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
                    {
                        "type": "function_call_output",
                        "call_id": "1",
                        "output": [{"type": "input_image", "image_url": DATA}],
                    },
                    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
                ]
            },
            Media(1, len(DATA)),
        ),
        (
            Route.MESSAGES,
            {
                "system": [{"type": "text", "text": "be kind"}],
                **message(
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BASE64}},
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "http://x"}},
                    {"type": "tool_use", "id": "1", "name": "f", "input": {"url": "http://x"}},
                    {
                        "type": "tool_result",
                        "tool_use_id": "1",
                        "content": [
                            {"type": "image", "source": {"type": "base64", "media_type": "image/x", "data": BASE64}}
                        ],
                    },
                    {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}]}},
                    {"type": "document", "source": {"type": "base64", "data": BASE64}, "title": "a"},
                ),
            },
            Media(3, 2 * len(BASE64)),
        ),
        (Route.EMBEDDINGS, {"input": "http://x"}, Media()),
        (Route.COMPLETIONS, {"prompt": "http://x"}, Media()),
    ],
)
def test_media_in_the_request_are_counted(route: Route, body: dict[str, Any], media: Media) -> None:
    assert read_media(route, body, by_url=False) == media


def with_media(value: Any) -> list[tuple[Route, dict[str, Any]]]:
    """Every place where media can stand, with `value` as its URL or data."""
    return [
        (Route.CHAT, message({"type": "image_url", "image_url": {"url": value}})),
        (Route.CHAT, message({"type": "image_url", "image_url": value})),
        (Route.CHAT, message({"type": "text", "text": "a"}, {"type": "video_url", "video_url": {"url": value}})),
        (Route.CHAT, message({"type": "audio_url", "audio_url": {"url": value}})),
        (Route.RESPONSES, item({"type": "input_image", "image_url": value})),
        (Route.RESPONSES, item({"type": "input_file", "file_url": value})),
        (
            Route.RESPONSES,
            {"input": [{"type": "function_call_output", "output": [{"type": "input_image", "image_url": value}]}]},
        ),
        (Route.MESSAGES, message({"type": "image", "source": {"type": "url", "url": value}})),
        (Route.MESSAGES, message({"type": "document", "source": {"type": "url", "url": value}})),
        (
            Route.MESSAGES,
            message({"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": value}}]}),
        ),
        (Route.MESSAGES, {"system": [{"type": "image", "source": {"type": "url", "url": value}}], **message()}),
    ]


@pytest.mark.parametrize("value", FORBIDDEN)
def test_media_by_url_are_refused_everywhere(value: Any) -> None:
    for route, body in with_media(value):
        assert refused(route, body) in ("media_by_url", "invalid_value", "unsupported_content")


def test_a_provider_can_allow_media_by_http_only() -> None:
    for url in ("https://example.org/cat.png", "http://example.org/cat.png", DATA):
        for route, body in with_media(url):
            assert read_media(route, body, by_url=True).items == 1
    for value in set(map(str, FORBIDDEN)) - {"http://10.0.0.1/latest/meta-data", "https://example.org/cat.png"}:
        for route, body in with_media(value):
            assert refused(route, body, by_url=True) == "media_by_url"


@pytest.mark.parametrize("value", ["http://10.0.0.1/", "file:///etc/passwd", "", None, 1, {}, []])
def test_data_is_not_a_url(value: Any) -> None:
    for route, body in [
        (Route.CHAT, message({"type": "input_audio", "input_audio": {"data": value, "format": "wav"}})),
        (Route.CHAT, message({"type": "file", "file": {"file_data": value}})),
        (Route.RESPONSES, item({"type": "input_file", "file_data": value})),
        (Route.MESSAGES, message({"type": "image", "source": {"type": "base64", "data": value}})),
    ]:
        assert refused(route, body) in ("media_by_url", "invalid_value")


PARTS: list[Any] = [
    None, "text", 1, [], {}, {"type": "image"}, {"type": None}, {"type": ["text"]}, {"type": {}},
    {"image_url": {"url": DATA}}, {"type": "image", "image": "/etc/passwd"}, {"type": "image", "path": "/x"},
    {"type": "image_embeds", "image_embeds": BASE64}, {"type": "image_pil", "image_pil": DATA},
    {"type": "text", "text": "a", "image_url": {"url": "http://x"}},
    {"type": "image_url", "image_url": {"url": DATA}, "uuid": "another user's picture"},
    {"type": "image_url", "image_url": {"url": DATA, "path": "/etc/passwd"}},
    {"type": "file", "file": {"file_id": "file-1"}},
    {"type": "file", "file": {"file_data": DATA, "file_id": "f"}},
    {"type": "input_image", "file_id": "file-1"}, {"type": "video", "video": "http://x"},
]  # fmt: skip
ITEMS: list[Any] = [
    {"type": "item_reference", "id": "msg_1"}, {"type": "mcp_call"}, {"type": None}, {"type": 1}, {"type": []},
    {"type": "computer_call_output", "output": {"image_url": "http://x"}}, "text", None,
    {"content": {"type": "text"}},
]  # fmt: skip
NO_LISTS: list[Any] = [None, [], {}, "hi", [None], ["hi"], [[]]]
NO_CONTENT: list[Any] = [{}, 1, True]


@pytest.mark.parametrize(
    ("route", "body"),
    [
        *((Route.CHAT, message(part)) for part in PARTS),
        (Route.CHAT, {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}),
        (Route.RESPONSES, item({"type": "input_image", "file_id": "file-1"})),
        (Route.RESPONSES, item({"type": "input_file", "file_id": "file-1", "file_data": DATA})),
        *((Route.RESPONSES, {"input": [one]}) for one in ITEMS),
        (Route.MESSAGES, message({"type": "image", "source": {"type": "file", "file_id": "file_1"}})),
        (Route.MESSAGES, message({"type": "container_upload", "file_id": "file_1"})),
        (Route.MESSAGES, message({"type": "image", "source": DATA})), (Route.MESSAGES, {"system": {}, **message()}),
        (Route.MESSAGES, message({"type": "document", "source": {"type": "content", "content": [{"type": "x"}]}})),
        *((Route.CHAT, {"messages": wrong}) for wrong in NO_LISTS),
        *((Route.CHAT, {"messages": [{"role": "user", "content": wrong}]}) for wrong in NO_CONTENT),
        *((Route.RESPONSES, {"input": wrong}) for wrong in NO_LISTS if wrong != "hi"),
    ],
)  # fmt: skip
def test_what_is_not_known_to_be_harmless_is_refused(route: Route, body: dict[str, Any]) -> None:
    assert refused(route, body) in ("unsupported_content", "invalid_value", "stored_content")


@pytest.mark.parametrize(
    ("route", "body", "param"),
    [
        (Route.CHAT, {"messages": [1]}, "messages.0"),
        (Route.CHAT, {"messages": [{"audio": {}}]}, "messages.0.audio"),
        (Route.CHAT, {"messages": [{"content": 1}]}, "messages.0.content"),
        (Route.CHAT, message({"type": "x"}), "messages.1.content.0.type"),
        (Route.CHAT, message({"type": "text", "text": "a", "z": 1, "b": 1}), "messages.1.content.0.b"),
        (Route.CHAT, message({"type": "image_url", "image_url": {"url": "x"}}), "messages.1.content.0.image_url"),
        (
            Route.CHAT,
            message({"type": "image_url", "image_url": {"url": DATA, "path": "x"}}),
            "messages.1.content.0.image_url.path",
        ),
        (
            Route.CHAT,
            message({"type": "input_audio", "input_audio": {"data": ""}}),
            "messages.1.content.0.input_audio.data",
        ),
        (Route.CHAT, message({"type": "input_audio"}), "messages.1.content.0.input_audio"),
        (Route.CHAT, message({"type": "file", "file": {}}), "messages.1.content.0.file.file_data"),
        (Route.CHAT, message({"type": "file"}), "messages.1.content.0.file"),
        (Route.RESPONSES, {"input": [{"type": "x"}]}, "input.0.type"),
        (Route.RESPONSES, item({"type": "input_image"}), "input.0.content.0.image_url"),
        (Route.RESPONSES, item({"type": "input_file"}), "input.0.content.0.file_data"),
        (Route.RESPONSES, item({"type": "input_file", "file_url": "x"}), "input.0.content.0.file_url"),
        (Route.RESPONSES, {"input": [{"type": "function_call_output", "output": 1}]}, "input.0.output"),
        (Route.MESSAGES, {"system": 1}, "system"),
        (Route.MESSAGES, message({"type": "image"}), "messages.1.content.0.source.type"),
        (
            Route.MESSAGES,
            message({"type": "image", "source": {"type": "url", "url": "x"}}),
            "messages.1.content.0.source.url",
        ),
        (Route.MESSAGES, message({"type": "image", "source": {"type": "base64"}}), "messages.1.content.0.source.data"),
        (
            Route.MESSAGES,
            message({"type": "document", "source": {"type": "content", "content": [1]}}),
            "messages.1.content.0.source.content.0.type",
        ),
        (Route.MESSAGES, message({"type": "tool_result", "content": 1}), "messages.1.content.0.content"),
    ],
)
def test_a_refusal_names_the_place(route: Route, body: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestRefused) as refusal:
        read_media(route, body, by_url=False)
    assert refusal.value.param == param
    assert str(refusal.value).startswith(f"{param} ")


def test_each_picture_counts_as_configured_and_its_data_does_not() -> None:
    def bound(size: int, pictures: int) -> int:
        part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * size}}
        body = json.dumps(message(*[part] * pictures) | {"model": "m"}).encode()
        return read_request(Route.CHAT, body, Terms("m", tokens_per_media=1500)).bounds.input

    assert bound(10_000, 1) == bound(10, 1)
    assert 1500 < bound(10, 1) < 1500 + 64 + 250
    assert 3000 < bound(10, 2) < 3000 + 64 + 350


def test_files_count_with_their_data() -> None:
    """A long text in a file would otherwise cost its provider more than was reserved."""
    text = "QUFB" * 5_000
    for part in (
        {"type": "file", "file": {"file_data": text}},
        {"type": "image_url", "image_url": {"url": "data:application/pdf;base64," + text}},
        {"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64," + text}},
    ):
        body = json.dumps(message(part) | {"model": "m"}).encode()
        assert read_request(Route.CHAT, body, Terms("m")).bounds.input > 20_000 + 2_048
        assert read_request(Route.CHAT, body, Terms("m", context=8_192)).bounds.input == 8_192
