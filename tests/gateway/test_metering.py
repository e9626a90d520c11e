# SPDX-License-Identifier: Apache-2.0
"""Streams through the meter: which bytes the client gets, whatever the packets, and what it is billed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.gateway import metering
from serving_network.gateway.metering import MAX_HELD, StreamMeter
from serving_network.gateway.routes import Route
from serving_network.gateway.usage import Usage
from serving_network.messages.receipts import Source
from tests.gateway.streams import (
    EVENTS,
    SERVERS,
    USAGE,
    WORDS,
    chunk,
    event,
    packets_of,
    usage_chunk,
    used,
    without_usage_chunk,
)


def deliver(meter: StreamMeter, packets: Iterable[bytes]) -> bytes:
    """Everything that a client gets whose socket accepts all at once."""
    delivered = []
    for packet in packets:
        delivered.append(meter.feed(packet))
        meter.received()
    delivered.append(meter.finish())
    meter.received()
    return b"".join(delivered)


def one_by_one(data: bytes) -> list[bytes]:
    return [data[start : start + 1] for start in range(len(data))]


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("server", SERVERS)
def test_every_server_is_billed_by_its_usage(server: str, asked: bool) -> None:
    events = SERVERS[server]
    expected = b"".join(events if asked else without_usage_chunk(events))
    for packets in (events, [b"".join(events)], one_by_one(b"".join(events)), [b"".join(events[:3]), *events[3:]]):
        meter = StreamMeter(Route.CHAT, remove_usage=not asked)
        assert deliver(meter, packets) == expected
        assert meter.usage() == Usage(12, 3)
        assert meter.finished


@pytest.mark.parametrize("server", SERVERS)
def test_a_chunk_of_usage_is_all_that_is_missing(server: str) -> None:
    missing = set(SERVERS[server]) - set(without_usage_chunk(SERVERS[server]))
    assert len(missing) == (server != "TGI and transformers: in the finish chunk")


@settings(max_examples=300)
@given(st.data(), st.lists(EVENTS, max_size=12), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_delivered_bytes_are_the_upstream_s_minus_chunks_of_usage(
    data: st.DataObject, events: list[bytes], end: str, asked: bool
) -> None:
    """Carriage returns in text are escaped, so replacing line ends changes no text."""
    sent = [one.replace(b"\n", end.encode()) for one in events]
    kept = [one.replace(b"\n", end.encode()) for one in (events if asked else without_usage_chunk(events))]
    packets = data.draw(packets_of(b"".join(sent)))
    meter = StreamMeter(Route.CHAT, remove_usage=not asked)
    assert deliver(meter, packets) == b"".join(kept)
    whole = StreamMeter(Route.CHAT, remove_usage=not asked)
    deliver(whole, sent)
    assert (meter.usage(), meter.finished) == (whole.usage(), whole.finished)


@settings(max_examples=200)
@given(st.data(), st.binary(max_size=300), st.sampled_from(Route), st.booleans())
def test_any_bytes_pass_through(data: st.DataObject, sent: bytes, route: Route, remove: bool) -> None:
    if route in metering._DELTA:
        assert deliver(StreamMeter(route, remove_usage=remove), data.draw(packets_of(sent))) == sent


@settings(max_examples=200)
@given(st.data(), st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"data: x", b": y"]), max_size=30))
def test_any_mix_of_line_ends_passes_through(data: st.DataObject, parts: list[bytes]) -> None:
    sent = b"".join(parts)
    assert deliver(StreamMeter(Route.CHAT, remove_usage=True), data.draw(packets_of(sent))) == sent


def test_a_chunk_that_says_more_than_the_usage_stays() -> None:
    said: list[dict[str, object]] = [{"citations": ["a"]}, {"error": {"message": "cut"}}, {"choices": [{"delta": {}}]}]
    for more in said:
        kept = event(usage_chunk() | more)
        assert deliver(StreamMeter(Route.CHAT, remove_usage=True), [kept]) == kept
    nothing: list[dict[str, object]] = [{"citations": None}, {"system_fingerprint": "fp"}, {"service_tier": "default"}]
    for more in nothing:
        assert deliver(StreamMeter(Route.CHAT, remove_usage=True), [event(usage_chunk() | more)]) == b""


def test_an_asking_client_gets_every_packet_at_once_and_unchanged() -> None:
    meter = StreamMeter(Route.CHAT, remove_usage=False)
    for packet in one_by_one(b"".join(SERVERS["CRLF"])):
        assert meter.feed(packet) is packet


def test_a_whole_event_never_waits_for_the_next() -> None:
    for end in ("\n", "\r\n", "\r"):
        meter = StreamMeter(Route.CHAT, remove_usage=True)
        assert meter.feed(event(chunk("a"), end)) == event(chunk("a"), end)
        assert meter.feed(event(chunk("b"), end)[:-1]) == b""
        assert meter.feed(end[-1:].encode() + event(chunk("c"), end)) == event(chunk("b"), end) + event(chunk("c"), end)


def test_the_last_event_may_lack_its_end() -> None:
    meter = StreamMeter(Route.CHAT, remove_usage=True)
    assert deliver(meter, [event(chunk("a")), event(usage_chunk())[:-1]]) == event(chunk("a"))
    assert meter.usage() == Usage(12, 3)
    meter = StreamMeter(Route.CHAT, remove_usage=True)
    assert (
        deliver(meter, [event(chunk("a")), b'data: {"choices":[],"usa'])
        == event(chunk("a")) + b'data: {"choices":[],"usa'
    )


@pytest.mark.parametrize("size", [MAX_HELD - 200, MAX_HELD + 1, 3 * MAX_HELD])
def test_a_long_event_is_held_up_to_a_limit(size: int) -> None:
    long = event(chunk("x" * size))
    meter = StreamMeter(Route.CHAT, remove_usage=True)
    half = meter.feed(long[: size // 2])
    assert (half == b"") is (size // 2 <= MAX_HELD)
    rest = deliver(meter, [long[size // 2 : -1], long[-1:] + event(usage_chunk()), event(chunk("y"))])
    assert half + rest == long + event(chunk("y"))
    assert meter.usage() == Usage(12, 3)


def test_an_endless_event_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "MAX_EVENT", 100_000)
    for remove in (True, False):
        meter = StreamMeter(Route.CHAT, remove_usage=remove)
        sent = b"data: " + b"x" * 1_000_000
        packets = [sent[start : start + 4096] for start in range(0, len(sent), 4096)]
        parts = [meter.feed(packet) for packet in packets]
        assert meter._length < 105_000
        assert b"".join(parts) == sent
        rest = deliver(meter, [b"\n", b"\n", event(usage_chunk()), event("[DONE]")])
        assert rest == b"\n\n" + (b"" if remove else event(usage_chunk())) + event("[DONE]")
        assert meter.usage() == Usage(12, 3)


def test_the_text_of_a_long_stream_is_counted_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "MAX_UNCOUNTED", 1_000)
    for end in (None, "stop"):
        meter = StreamMeter(Route.CHAT, remove_usage=True)
        events = [event(chunk()), *[event(chunk("a"))] * 100, event(chunk("", end)), *[event(chunk("b"))] * 20]
        assert deliver(meter, events) == b"".join(events)
        assert meter._size < 1_200
        assert meter.usage() == Usage(0, 120, source=Source.DELTAS)
        assert meter.finished is (end is not None)
        meter.feed(event(chunk("lost")))
        assert meter.usage() == Usage(0, 120, source=Source.DELTAS)


def test_asking_for_the_usage_counts_each_event_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[bytes] = []
    count = StreamMeter._count

    def counting(meter: StreamMeter, events: list[bytes]) -> int:
        counted.extend(events)
        return count(meter, events)

    monkeypatch.setattr(StreamMeter, "_count", counting)
    meter = StreamMeter(Route.CHAT, remove_usage=True)
    events = [event(chunk(str(number))) for number in range(50)]
    for number, one in enumerate([*events, event(chunk("", "stop"))]):
        assert deliver(meter, [one]) == one
        assert meter.usage() == Usage(0, min(number + 1, 50), source=Source.DELTAS)
    assert counted == [*events, event(chunk("", "stop"))]
    assert meter.finished


def test_feeding_a_long_event_takes_linear_time() -> None:
    def seconds(size: int) -> float:
        meter = StreamMeter(Route.RESPONSES, remove_usage=False)
        started = time.process_time()
        for _ in range(size // 1024):
            meter.feed(b"x" * 1024)
        return time.process_time() - started

    assert min(seconds(2**24) for _ in range(3)) < 40 * min(seconds(2**21) for _ in range(3))


@pytest.mark.parametrize("server", SERVERS)
def test_a_cut_stream_is_billed_what_the_client_received(server: str) -> None:
    events = SERVERS[server]
    texts = [place for place, one in enumerate(events) if any(json.dumps(word).encode() in one for word in WORDS)]
    for received in range(4):
        meter = StreamMeter(Route.CHAT, remove_usage=True)
        for one in events[: texts[received - 1] + 1 if received else texts[0]]:
            meter.feed(one)
            meter.received()
        meter.feed(event(chunk(" lost")))
        if server == "vLLM: in every chunk":
            assert meter.usage() == Usage(12, received)
        else:
            assert meter.usage() == (Usage(0, received, source=Source.DELTAS) if received else None)
        assert not meter.finished


@settings(max_examples=200)
@given(st.data(), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.booleans())
def test_usage_that_only_the_gateway_asked_for_is_cut_off(
    data: st.DataObject, end: str, spaced: bool, asked: bool
) -> None:
    """Of every chunk but the one that ends the answer, and the one of its own if the client asked for that."""

    def line(content: dict[str, object]) -> bytes:
        return event(json.dumps(content) if spaced else content, end)

    details = {"prompt_tokens_details": {"cached_tokens": 4}}
    tail = [line(chunk("", "stop", usage=used(3))), line(usage_chunk()), event("[DONE]", end)]
    sent = [line(chunk(word, usage=used(n) | details)) for n, word in enumerate(WORDS, 1)]
    bare = [line(chunk(word)) for word in WORDS]
    meter = StreamMeter(Route.CHAT, remove_usage=not asked, cut_usage=True)
    delivered = deliver(meter, data.draw(packets_of(b"".join([*sent, *tail]))))
    assert delivered == b"".join([*bare, *(tail if asked else [tail[0], tail[2]])])
    assert meter.usage() == Usage(12, 3)
    meter = StreamMeter(Route.CHAT, remove_usage=not asked, cut_usage=True)
    assert deliver(meter, sent[:2]) == b"".join(bare[:2])
    assert meter.usage() == Usage(12, 2, 4)


def test_text_that_waits_for_its_end_was_not_received() -> None:
    meter = StreamMeter(Route.CHAT, remove_usage=True)
    assert meter.feed(event(chunk("a"))[:-1]) == b""
    meter.received()
    assert meter.usage() is None


@pytest.mark.parametrize(
    ("content", "counted"),
    [
        (chunk("a"), 1), (chunk('"'), 1), (chunk(""), 0), (chunk(), 0), (chunk("", "length"), 0),
        ({"choices": [{"delta": {"reasoning_content": "hm"}}]}, 1), ({"choices": [{"delta": {"reasoning": "hm"}}]}, 1),
        ({"choices": [{"delta": {"content": None, "refusal": "no"}}]}, 1),
        ({"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{\"a\""}}]}}]}, 1),
        ({"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]}}]}, 0),
        ({"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]}, 1),
        ({"choices": [{"delta": {"content": "a", "reasoning": "b"}}]}, 1),
        ({"choices": [{"delta": {}, "logprobs": {"content": [{"token": "a"}]}}]}, 0),
    ],
)  # fmt: skip
def test_an_event_with_text_counts_as_one_token(content: dict[str, object], counted: int) -> None:
    meter = StreamMeter(Route.CHAT, remove_usage=True)
    deliver(meter, [event(content), event(json.dumps(content)), event(content)])
    assert meter.usage() == (Usage(0, 3 * counted, source=Source.DELTAS) if counted else None)


@pytest.mark.parametrize("usage", [used(0) | {"prompt_tokens": 0}, used(-1), used(2**60), {"prompt_tokens": 1.5}, {}])
def test_a_usage_that_cannot_be_right_is_ignored(usage: dict[str, object]) -> None:
    meter = StreamMeter(Route.CHAT, remove_usage=True)
    assert deliver(meter, [event(chunk("a")), event(usage_chunk() | {"usage": usage})]) == event(chunk("a"))
    assert meter.usage() == Usage(0, 1, source=Source.DELTAS)


def test_cached_tokens_are_read() -> None:
    meter = StreamMeter(Route.CHAT, remove_usage=False)
    deliver(meter, [event(usage_chunk() | {"usage": USAGE | {"prompt_tokens_details": {"cached_tokens": 8}}})])
    assert meter.usage() == Usage(12, 3, 8)


def test_completions_are_metered_as_chats() -> None:
    def text(content: str, finish: str | None = None) -> bytes:
        return event({"choices": [{"index": 0, "text": content, "finish_reason": finish}]})

    meter = StreamMeter(Route.COMPLETIONS, remove_usage=True)
    events = [text("Hi"), text(" there"), text("", "stop")]
    assert deliver(meter, [*events, event(usage_chunk()), event("[DONE]")]) == b"".join([*events, event("[DONE]")])
    assert meter.usage() == Usage(12, 3)
    meter = StreamMeter(Route.COMPLETIONS, remove_usage=True)
    deliver(meter, events[:2])
    assert meter.usage() == Usage(0, 2, source=Source.DELTAS)


def response(kind: str, **more: object) -> bytes:
    return event({"type": f"response.{kind}", **more}, name=f"response.{kind}")


FORGED = [{"type": "function", "name": "f", "parameters": {"usage": {"input_tokens": 1, "output_tokens": 1}}}]


def test_responses_are_billed_by_their_last_event() -> None:
    usage = {"input_tokens": 12, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 3}
    begun = [
        response("created", response={"tools": FORGED, "usage": None}),
        response("output_text.delta", delta="Hi"),
        response("output_text.delta", delta=" there"),
        response("output_text.done", text="Hi there"),
    ]
    ended = response("completed", response={"usage": usage, "tools": FORGED, "output": [{"text": "Hi there"}]})
    meter = StreamMeter(Route.RESPONSES, remove_usage=True)
    assert deliver(meter, one_by_one(b"".join([*begun, ended]))) == b"".join([*begun, ended])
    assert (meter.usage(), meter.finished) == (Usage(12, 3, 4), True)
    meter = StreamMeter(Route.RESPONSES, remove_usage=True)
    deliver(meter, begun)
    assert (meter.usage(), meter.finished) == (Usage(0, 2, source=Source.DELTAS), False)


def test_a_client_cannot_bill_itself_through_its_tools() -> None:
    """A response repeats the request's tools, whose schema may hold a "usage" that the client wrote."""
    forged = [FORGED[0] | {"parameters": {"type": "response.completed", "usage": {"input_tokens": 1}}}]
    ended = response("completed", response={"tools": forged, "usage": {"input_tokens": 12, "output_tokens": 3}})
    meter = StreamMeter(Route.RESPONSES, remove_usage=True)
    deliver(
        meter, [response("created", response={"tools": forged}), ended, response("created", response={"tools": forged})]
    )
    assert meter.usage() == Usage(12, 3)
    meter = StreamMeter(Route.RESPONSES, remove_usage=True)
    deliver(meter, [response("output_text.delta", delta="Hi"), response("completed", response={"tools": FORGED})])
    assert meter.usage() == Usage(0, 1, source=Source.DELTAS)


def message(kind: str, **more: object) -> bytes:
    return event({"type": kind, **more}, name=kind)


def test_messages_report_input_first_and_output_last() -> None:
    start = {"input_tokens": 2, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 3, "output_tokens": 1}
    begun = [
        message("message_start", message={"content": [], "usage": start}),
        message("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        message("ping"),
        message("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hi"}),
        message("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": "{"}),
    ]
    ended = [
        message("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5}),
        message("message_stop"),
    ]
    meter = StreamMeter(Route.MESSAGES, remove_usage=True)
    assert deliver(meter, [*begun, *ended]) == b"".join([*begun, *ended])
    assert (meter.usage(), meter.finished) == (Usage(12, 5, 7), True)
    meter = StreamMeter(Route.MESSAGES, remove_usage=True)
    deliver(meter, begun)
    assert (meter.usage(), meter.finished) == (Usage(12, 2, 7, Source.DELTAS), False)
    meter = StreamMeter(Route.MESSAGES, remove_usage=True)
    deliver(meter, begun[:2])
    assert meter.usage() == Usage(12, 0, 7)


@pytest.mark.parametrize("kind", [["a"], {}, None, 1, "response.created"])
@pytest.mark.parametrize("route", [Route.RESPONSES, Route.MESSAGES, Route.TRANSCRIPTIONS])
def test_a_usage_of_another_event_is_not_that_of_the_answer(route: Route, kind: object) -> None:
    meter = StreamMeter(route, remove_usage=True)
    sent = event({"type": kind, "usage": {"input_tokens": 1, "output_tokens": 1}})
    assert deliver(meter, [sent]) == sent
    assert meter.usage() is None


def test_a_streamed_transcription_reports_at_its_end() -> None:
    begun = [event({"type": "transcript.text.delta", "delta": "Hi"})]
    ended = event({"type": "transcript.text.done", "text": "Hi", "usage": {"type": "duration", "seconds": 9}})
    meter = StreamMeter(Route.TRANSCRIPTIONS, remove_usage=True)
    assert deliver(meter, [*begun, ended]) == b"".join([*begun, ended])
    assert (meter.usage(), meter.finished) == (Usage(9, 0), True)
