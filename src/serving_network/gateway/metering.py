# SPDX-License-Identifier: Apache-2.0
"""Which bytes of a streamed answer go to the client, and what of it the client received.

Bytes pass through unchanged. One event is taken out: a chunk that holds nothing but the usage, if the client did not
ask for it. To find it, an incomplete event waits for its end, but never more than MAX_HELD bytes of it. Where the
model server adds the usage to every chunk because the gateway asked for that, it is cut off again: it is the tail of
the chunk, so the rest stays as it was.

Events are searched as bytes; JSON is parsed only for the few that end an answer. In JSON an unescaped `"usage"` is a
key or a whole string, so text that a model writes cannot imitate one. Where an event repeats what the client sent
(the tools of a response), it is parsed before a usage is read from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from serving_network.gateway.routes import Route
from serving_network.gateway.usage import Usage, read_usage
from serving_network.messages.receipts import Source
from serving_network.tokenizing.answers import AnswerTexts
from serving_network.untrusted import parse_json

MAX_HELD: Final = 65_536
"""No chunk that holds nothing but the usage is longer."""
MAX_EVENT: Final = 32 * 1024 * 1024
"""The usage in a longer event is not read."""
MAX_UNCOUNTED: Final = 131_072
"""The text of events is counted when they are this long together, or when it is needed."""

_USAGE_CHUNK: Final = (Route.CHAT, Route.COMPLETIONS)
_OF_EVERY_CHUNK: Final = {
    "id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier", "obfuscation",
    "timings",
}  # fmt: skip
_WHOLE: Final = (b"\n\n", b"\r\n\r\n")

_BOUNDARY = re.compile(rb"\n\r?\n|\r\r")
_SEAM: Final = 2
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_LINE_END = re.compile(rb"\r\n|\n|\r")
_DONE = re.compile(rb"(?:^|[\r\n])data: ?\[DONE\]")
_TAIL = re.compile(rb',\s*"usage"\s*:\s*\{(?:[^{}]++|\{[^{}]*+\})*+\}(?=\}[\r\n]*\Z)')

_CHAT_DELTA = re.compile(rb'"(?:content|reasoning_content|reasoning|refusal|text|arguments)"\s*:\s*"[^"]')
_DELTA: Final = {
    Route.CHAT: _CHAT_DELTA,
    Route.COMPLETIONS: _CHAT_DELTA,
    Route.RESPONSES: re.compile(rb'"delta"\s*:\s*"[^"]'),
    Route.MESSAGES: re.compile(rb'"(?:text|thinking|partial_json)"\s*:\s*"[^"]'),
    Route.TRANSCRIPTIONS: re.compile(rb'"delta"\s*:\s*"[^"]'),
}
"""Events with generated text, by route: those that can be streamed."""
_CHAT_END = re.compile(rb'"finish_reason"\s*:\s*"[^"]')
_END: Final = {
    Route.CHAT: _CHAT_END,
    Route.COMPLETIONS: _CHAT_END,
    Route.RESPONSES: re.compile(rb'"type"\s*:\s*"response\.(?:completed|incomplete|failed)"'),
    Route.MESSAGES: re.compile(rb'"type"\s*:\s*"message_stop"'),
    Route.TRANSCRIPTIONS: re.compile(rb'"type"\s*:\s*"transcript\.text\.done"'),
}
"""Events after which an answer is complete."""
_REPORTING: Final = {
    "message_start", "message_delta", "response.completed", "response.incomplete", "response.failed",
    "transcript.text.done",
}  # fmt: skip
"""Types of the events in which a usage is read, where a stream has events of several types."""


class _Reports(NamedTuple):
    """What the model server reported so far: the last event with a usage, and the usage at the start."""

    last: bytes | None = None
    start: Usage | None = None


class StreamMeter:
    """Meters one stream of server-sent events. Give it each packet of the model server and send what it returns."""

    def __init__(
        self, route: Route, *, remove_usage: bool, cut_usage: bool = False, texts: AnswerTexts | None = None
    ) -> None:
        """`remove_usage`: the client did not ask for the usage. Only chats and completions have a chunk for it.

        `cut_usage`: it did not ask for the usage in every chunk, but the gateway did. `texts` collects the text that
        the client received, for a tokenizer.
        """
        self._route = route
        self._removes = remove_usage and route in _USAGE_CHUNK
        self._cuts = cut_usage and route in _USAGE_CHUNK
        self._edits = self._removes or self._cuts
        # The packets of the event that is incomplete, their length and last bytes, and whether they were passed on.
        self._waiting: list[bytes] = []
        self._length = 0
        self._seam = b""
        self._sent = not self._edits
        # Whole events whose text is not counted yet, since most streams end with a usage, and how many were received.
        self._uncounted: list[bytes] = []
        self._size = 0
        self._accepted = 0
        self._deltas = 0
        self._ended = False
        self._texts = texts
        self._reports = self._received = _Reports()

    @property
    def finished(self) -> bool:
        """Whether the model server finished the answer. Some send no [DONE], so the reason to finish counts too."""
        return self._ended or self._ends(self._uncounted)

    def feed(self, packet: bytes) -> bytes:
        """The bytes to send to the client now."""
        if not self._waiting and packet.endswith(_WHOLE) and not (b'"usage"' in packet and _USAGE.search(packet)):
            self._keep(packet)
            return packet
        data = b""
        if not self._waiting:
            data = packet
        elif _BOUNDARY.search(self._seam + packet):
            data = b"".join((*self._waiting, packet))
        end = _end_of_events(data)
        if not end:
            return self._wait(packet)
        already = self._length if self._sent else 0
        kept = self._take(data[:end], first_removable=not already)
        rest = data[end:]
        self._waiting, self._length, self._seam, self._sent = [], 0, b"", not self._edits
        if rest:
            rest = self._wait(rest)
        return packet if not self._edits else kept[already:] + rest

    def finish(self) -> bytes:
        """The rest of the bytes to send, after the model server ended the stream."""
        data, already = b"".join(self._waiting), self._length if self._sent else 0
        self._waiting, self._length = [], 0
        if not data:
            return b""
        removed = self._report(data) and not already
        self._keep(data)
        return b"" if removed else data[already:]

    def received(self) -> None:
        """Record that the client's socket accepted everything that was returned so far."""
        self._accepted = len(self._uncounted)
        self._received = self._reports

    def usage(self) -> Usage | None:
        """What the client received; None if it is unknown.

        The model server's usage counts if it arrived; otherwise each event with text counts as one token, which is
        never more than it holds.
        """
        return self._usage(self._received, unreceived=False)

    def sent(self) -> Usage | None:
        """What the model server has sent so far, whether the client received it or not; None if it is unknown."""
        return self._usage(self._reports, unreceived=True)

    def _usage(self, reports: _Reports, *, unreceived: bool) -> Usage | None:
        last, start = reports
        reported = read_usage(self._route, _content(last)) if last else None
        if reported is None:
            self._count_received()
            deltas = self._deltas + (self._count(self._uncounted) if unreceived else 0)
            reported = Usage(0, deltas, source=Source.DELTAS) if deltas else None
        if start is None:
            return reported
        if reported is None:
            return start._replace(output=0)
        of_input, cached = max(reported.input, start.input), max(reported.cached, start.cached)
        return reported._replace(input=of_input, cached=cached)

    def texts(self) -> AnswerTexts | None:
        """The text that the client received, if it is collected."""
        self._count_received()
        return self._texts

    def _keep(self, events: bytes) -> None:
        """Keep whole events until they are counted, which is when they fill MAX_UNCOUNTED."""
        self._uncounted.append(events)
        self._size += len(events)
        if self._size > MAX_UNCOUNTED:
            self._count_received()

    def _count_received(self) -> None:
        """Count the events that the client received, each once."""
        if self._accepted:
            received = self._uncounted[: self._accepted]
            self._deltas += self._count(received)
            self._ended = self._ended or self._ends(received)
            self._collect(received)
            del self._uncounted[: self._accepted]
            self._size -= sum(map(len, received))
            self._accepted = 0

    def _count(self, events: list[bytes]) -> int:
        """How many events have text."""
        pattern = _DELTA[self._route]
        return sum(pattern.search(event) is not None for event in _split(b"".join(events)))

    def _collect(self, events: list[bytes]) -> None:
        if self._texts is not None:
            for event in _split(b"".join(events)):
                self._texts.add_event(_content(event))

    def _ends(self, events: list[bytes]) -> bool:
        data = b"".join(events)
        return _END[self._route].search(data) is not None or (b"[DONE]" in data and _DONE.search(data) is not None)

    def _wait(self, part: bytes) -> bytes:
        """Keep a part of an incomplete event; returns what is passed on all the same."""
        self._waiting.append(part)
        self._length += len(part)
        self._seam = (self._seam + part)[-_SEAM:]
        if not self._sent and self._length > MAX_HELD:
            self._sent = True
            part = b"".join(self._waiting)
        passed = part if self._sent else b""
        if self._length > MAX_EVENT:
            self._waiting, self._length = [self._seam], len(self._seam)
        return passed

    def _take(self, events: bytes, *, first_removable: bool) -> bytes:
        """Read whole events; returns those that are not removed."""
        self._keep(events)
        if b'"usage"' not in events:
            return events
        kept: list[bytes] = []
        for place, event in enumerate(_split(events)):
            removable = self._report(event)
            if not (place or first_removable):
                kept.append(event)
            elif not removable:
                kept.append(self._without_usage(event) if self._cuts else event)
        return b"".join(kept)

    def _without_usage(self, event: bytes) -> bytes:
        """An event without the usage at its end. The chunk that holds nothing else, and the one that ends, keep it."""
        if _NO_CHOICES.search(event) or _CHAT_END.search(event):
            return event
        return _TAIL.sub(b"", event)

    def _report(self, event: bytes) -> bool:
        """Read the usage that an event reports; whether the event is to be removed."""
        if not _USAGE.search(event):
            return False
        if self._route in _USAGE_CHUNK:
            self._reports = _Reports(event, self._reports.start)
            return self._removes and _NO_CHOICES.search(event) is not None and _is_only_usage(_content(event))
        content = _content(event)
        kind = content.get("type") if isinstance(content, dict) else None
        if kind == "message_start":
            self._reports = _Reports(self._reports.last, read_usage(self._route, content))
        elif isinstance(kind, str) and kind in _REPORTING:
            self._reports = _Reports(event, self._reports.start)
        return False


def _end_of_events(data: bytes) -> int:
    """The length of the whole events at the start of `data`."""
    ends = (data.rfind(mark) + len(mark) for mark in (b"\n\n", b"\n\r\n", b"\r\r") if mark in data)
    return max(ends, default=0)


def _split(events: bytes) -> Iterator[bytes]:
    """The single events, each with the blank line that ends it; the last may lack it."""
    start = 0
    for boundary in _BOUNDARY.finditer(events):
        yield events[start : boundary.end()]
        start = boundary.end()
    if start < len(events):
        yield events[start:]


def _content(event: bytes) -> Any:
    """The JSON of an event's data, None if it is not JSON."""
    lines = (line for line in _LINE_END.split(event) if line.startswith(b"data:"))
    try:
        return parse_json(b"\n".join(line[5:] for line in lines))
    except ValueError:
        return None


def _is_only_usage(content: Any) -> bool:
    """Whether a chunk tells the client nothing but the usage."""
    if not isinstance(content, dict) or content.get("choices") != [] or not isinstance(content.get("usage"), dict):
        return False
    return all(name in _OF_EVERY_CHUNK or value is None for name, value in content.items())
