# SPDX-License-Identifier: Apache-2.0
"""What a model server reports as the usage of a request.

| route | input | output |
|---|---|---|
| chat completions, completions | usage.prompt_tokens | usage.completion_tokens |
| responses | usage.input_tokens | usage.output_tokens |
| messages | usage.input_tokens, and what was read from and written to the cache | usage.output_tokens |
| embeddings | usage.prompt_tokens | none |
| images | none | the number of images |
| transcriptions | seconds, or usage.input_tokens | none, or usage.output_tokens |

A usage that is zero everywhere, negative or not whole is no usage: see `read_usage`.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

from serving_network.gateway.routes import Route
from serving_network.messages.receipts import Source
from serving_network.untrusted import parse_json

MAX_COUNT: Final = 2**48
"""No request has more tokens; a model server that reports more is wrong."""
MAX_SECONDS: Final = 99 * 3600

_CUE = re.compile(
    r"^(?:\d+:)?\d\d:\d\d[.,]\d{3}[ \t]+-->[ \t]+(?:(\d{1,3}):)?(\d\d):(\d\d)[.,](\d{3})", re.ASCII | re.MULTILINE
)
_TAIL: Final = 4096


class Usage(NamedTuple):
    """The units to bill: tokens, or images as output, or seconds as input. `cached` is a part of `input`."""

    input: int
    output: int
    cached: int = 0
    source: Source = Source.USAGE


def read_usage(route: Route, content: Any) -> Usage | None:
    """The usage in the JSON of an answer or of a stream's event, None if there is none that can be billed."""
    if not isinstance(content, dict):
        return None
    if route in (Route.IMAGES, Route.IMAGE_EDITS):
        images = content.get("data")
        return Usage(0, len(images)) if isinstance(images, list) and images else None
    if route is Route.TRANSCRIPTIONS:
        return _read_transcription(content)
    usage = content.get("usage")
    if not isinstance(usage, dict):
        nested = content.get("response" if route is Route.RESPONSES else "message")
        usage = nested.get("usage") if isinstance(nested, dict) else None
    return _read(route, usage) if isinstance(usage, dict) else None


def read_body(route: Route, body: bytes) -> Usage | None:
    """The usage in the whole body of an answer, None if there is none that can be billed."""
    if route is Route.EMBEDDINGS and (usage := _read_tail(body)):
        return usage
    try:
        return read_usage(route, parse_json(body))
    except ValueError:
        return _read_subtitles(body) if route is Route.TRANSCRIPTIONS else None


def _read(route: Route, usage: dict[str, Any]) -> Usage | None:
    in_name, out_name = ("input_tokens", "output_tokens")
    if route in (Route.CHAT, Route.COMPLETIONS, Route.EMBEDDINGS):
        in_name, out_name = ("prompt_tokens", "completion_tokens")
    if route is Route.MESSAGES:
        cached = usage.get("cache_read_input_tokens")
        beside = [cached, usage.get("cache_creation_input_tokens")]
    else:
        details = usage.get(in_name.replace("tokens", "tokens_details"))
        cached, beside = (details.get("cached_tokens") if isinstance(details, dict) else None), []
    counts = [_count(one) for one in (usage.get(in_name), usage.get(out_name), cached, *beside)]
    if None in counts:
        return None
    of_input, output, read, *rest = (one or 0 for one in counts)
    of_input += sum(rest)
    if route is Route.EMBEDDINGS:
        output = 0
    return Usage(of_input, output, min(read, of_input)) if of_input or output else None


def _count(value: Any) -> int | None:
    """A count of units: 0 if it is absent, None if it is not a count."""
    if value is None:
        return 0
    return value if type(value) is int and 0 <= value <= MAX_COUNT else None


def _read_tail(body: bytes) -> Usage | None:
    """The usage at the end of an answer with embeddings, which can have a hundred megabytes of numbers before it.

    Nothing in such an answer repeats what the client sent, so `"usage"` is the key.
    """
    start = body.rfind(b'"usage"', max(0, len(body) - _TAIL))
    if start < 0:
        return None
    try:
        usage, _ = json.JSONDecoder().raw_decode(body[start + 7 :].decode().lstrip(" \t\r\n:"))
    except (ValueError, RecursionError):
        return None
    return _read(Route.EMBEDDINGS, usage) if isinstance(usage, dict) else None


def _read_transcription(content: dict[str, Any]) -> Usage | None:
    usage = content.get("usage")
    if isinstance(usage, dict) and usage.get("type") == "duration":
        return _seconds(usage.get("seconds"))
    if isinstance(usage, dict) and (read := _read(Route.TRANSCRIPTIONS, usage)):
        return read
    return _seconds(content.get("duration"))


def _seconds(value: Any) -> Usage | None:
    """Whole seconds, halves up: at least one, at most MAX_SECONDS. Some servers report them as text."""
    try:
        seconds = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else -1
    except (ValueError, OverflowError):
        return None
    if not 0 <= seconds < MAX_COUNT:
        return None
    return Usage(min(max(int(seconds + 0.5), 1), MAX_SECONDS), 0)


def _read_subtitles(body: bytes) -> Usage | None:
    """The end of the last cue of subtitles, in SubRip or WebVTT."""
    cues = _CUE.findall(body.decode("utf-8", "replace"))
    if not cues:
        return None
    hours, minutes, seconds, milliseconds = (int(part or 0) for part in cues[-1])
    return _seconds(hours * 3600 + minutes * 60 + seconds + milliseconds / 1000)
