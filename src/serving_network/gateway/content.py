# SPDX-License-Identifier: Apache-2.0
"""The content of messages: how much media it holds, and that it refers to nothing outside itself.

A model server fetches what a URL names from inside the provider's network, and what an id names from storage that all
its users share. So each part of a message is of a known type with known fields, and its media are data: URLs or
base64. Text is not read.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from serving_network.gateway.refusals import RequestRefused
from serving_network.gateway.routes import Route

_TEXT: Final = {
    "text": {"text", "citations"},
    "input_text": {"text"},
    "output_text": {"text", "annotations", "logprobs"},
    "refusal": {"refusal"},
    "thinking": {"thinking", "signature"},
    "redacted_thinking": {"data"},
    "summary_text": {"text"},
    "reasoning_text": {"text"},
    "tool_use": {"id", "name", "input"},
}
_MEDIA: Final = {
    "image_url": {"image_url"},
    "video_url": {"video_url"},
    "audio_url": {"audio_url"},
    "input_image": {"image_url", "detail"},
    "input_audio": {"input_audio"},
    "input_file": {"file_data", "file_url", "filename"},
    "file": {"file"},
    "image": {"source"},
    "document": {"source", "title", "context", "citations"},
}
_NESTED: Final = {"tool_result": {"tool_use_id", "content", "is_error"}}
_PARTS: Final[dict[str, set[str]]] = _TEXT | _MEDIA | _NESTED
_ITEMS: Final = {
    "message": {"content"},
    "function_call": set[str](),
    "function_call_output": {"output"},
    "custom_tool_call": set[str](),
    "custom_tool_call_output": {"output"},
    "reasoning": {"content", "summary"},
}
"""Items of a response's input, each with its fields that hold content."""


class Media(NamedTuple):
    """The pictures, sounds, films and files of a request, and the characters of its pictures in its JSON.

    A model reads a picture as a limited number of tokens, whatever its size. Others grow with their data.
    """

    items: int = 0
    picture_characters: int = 0

    def plus(self, other: Media) -> Media:
        """Both together."""
        return Media(self.items + other.items, self.picture_characters + other.picture_characters)


def read_media(route: Route, body: dict[str, Any], *, by_url: bool) -> Media:
    """The media of a request. Raises RequestRefused with 400 for content that is not known to be harmless.

    `by_url` allows media that the model server fetches by http(s).
    """
    if route is Route.CHAT:
        return _messages(body.get("messages"), "messages", by_url)
    if route is Route.MESSAGES:
        system = _content(body.get("system"), "system", by_url)
        return system.plus(_messages(body.get("messages"), "messages", by_url))
    if route is Route.RESPONSES:
        return _items(body.get("input"), by_url)
    return Media()


def _messages(messages: Any, where: str, by_url: bool) -> Media:
    if not isinstance(messages, list) or not messages:
        raise _refusal(where, "is not a list of messages")
    media = Media()
    for place, message in enumerate(messages):
        at = f"{where}.{place}"
        if not isinstance(message, dict):
            raise _refusal(at, "is not a message")
        _check_names(message, at)
        if message.get("audio") is not None:
            raise _refusal(f"{at}.audio", "refers to stored audio, which this gateway does not keep", "stored_content")
        media = media.plus(_content(message.get("content"), f"{at}.content", by_url))
    return media


def _items(items: Any, by_url: bool) -> Media:
    if isinstance(items, str):
        return Media()
    if not isinstance(items, list) or not items:
        raise _refusal("input", "is neither text nor a list of items")
    media = Media()
    for place, item in enumerate(items):
        at = f"input.{place}"
        kind = item.get("type", "message") if isinstance(item, dict) else None
        fields = _ITEMS.get(kind) if isinstance(kind, str) else None
        if fields is None:
            raise _refusal(f"{at}.type", "is not an item that this gateway accepts", "unsupported_content")
        _check_names(item, at)
        for field in sorted(fields):
            media = media.plus(_content(item.get(field), f"{at}.{field}", by_url))
    return media


def _check_names(value: dict[str, Any], where: str) -> None:
    """Refuse names that differ from their lower case: servers written in Go read "Content" as "content"."""
    for name in value:
        if name != name.casefold():
            raise _refusal(f"{where}.{name}", "is not a field that this gateway accepts", "unsupported_content")


def _content(content: Any, where: str, by_url: bool) -> Media:
    if content is None or isinstance(content, str):
        return Media()
    if not isinstance(content, list):
        raise _refusal(where, "is neither text nor a list of parts")
    media = Media()
    for place, part in enumerate(content):
        media = media.plus(_part(part, f"{where}.{place}", by_url))
    return media


def _part(part: Any, where: str, by_url: bool) -> Media:
    kind = part.get("type") if isinstance(part, dict) else None
    fields = _PARTS.get(kind) if isinstance(kind, str) else None
    if kind is None or fields is None:
        raise _refusal(f"{where}.type", "is not a part that this gateway accepts", "unsupported_content")
    # Other fields can name a file of the host, or another user's picture in the model server's cache.
    if unknown := sorted(part.keys() - fields - {"type", "cache_control"}):
        raise _refusal(f"{where}.{unknown[0]}", "is not a field that this gateway accepts", "unsupported_content")
    if kind in _TEXT:
        return Media()
    if kind == "tool_result":
        return _content(part.get("content"), f"{where}.content", by_url)
    return _media(kind, part, where, by_url)


def _media(kind: str, part: dict[str, Any], where: str, by_url: bool) -> Media:
    if kind in ("image", "document"):
        return _source(part.get("source"), f"{where}.source", by_url)
    if kind == "input_audio":
        sound = _object(part.get("input_audio"), {"data", "format"}, f"{where}.input_audio")
        return _data(sound.get("data"), f"{where}.input_audio.data")
    if kind == "file":
        file = _object(part.get("file"), {"file_data", "filename"}, f"{where}.file")
        return _data(file.get("file_data"), f"{where}.file.file_data")
    if kind == "input_file" and "file_url" not in part:
        return _data(part.get("file_data"), f"{where}.file_data")
    name = {"input_image": "image_url", "input_file": "file_url"}.get(kind, kind)
    url = part.get(name)
    if isinstance(url, dict) and kind == name:
        url = _object(url, {"url", "detail"}, f"{where}.{name}").get("url")
    return _url(url, f"{where}.{name}", by_url)


def _source(source: Any, where: str, by_url: bool) -> Media:
    kind = source.get("type") if isinstance(source, dict) else None
    if kind == "url":
        return _url(_object(source, {"type", "url"}, where).get("url"), f"{where}.url", by_url)
    if kind == "content":
        return _content(_object(source, {"type", "content"}, where).get("content"), f"{where}.content", by_url)
    if kind == "text":
        _object(source, {"type", "media_type", "data"}, where)
        return Media()
    if kind == "base64":
        media = _data(_object(source, {"type", "media_type", "data"}, where).get("data"), f"{where}.data")
        is_picture = str(source.get("media_type")).startswith("image/")
        return media._replace(picture_characters=len(source["data"])) if is_picture else media
    raise _refusal(f"{where}.type", "is not a source that this gateway accepts", "unsupported_content")


def _object(value: Any, fields: set[str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refusal(where, "is not an object")
    if unknown := sorted(value.keys() - fields):
        raise _refusal(f"{where}.{unknown[0]}", "is not a field that this gateway accepts", "unsupported_content")
    return value


def _data(value: Any, where: str) -> Media:
    """Data in base64, alone or in a data: URL. Base64 has no colon, so what has one near its start is another URL."""
    if not isinstance(value, str) or not value:
        raise _refusal(where, "is not data in base64")
    if ":" in value[:256] and not value.startswith("data:"):
        raise _refusal(where, "is a URL, not data in base64", "media_by_url")
    return Media(1)


def _url(value: Any, where: str, by_url: bool) -> Media:
    if not isinstance(value, str):
        raise _refusal(where, "is not a URL")
    if value.startswith("data:image/"):
        return Media(1, len(value))
    if value.startswith("data:") or (by_url and value.startswith(("https://", "http://"))):
        return Media(1)
    raise _refusal(where, "is not a data: URL; send the media in the request", "media_by_url")


def _refusal(where: str, what: str, code: str = "invalid_value") -> RequestRefused:
    return RequestRefused(400, code, f"{where} {what}.", param=where)
