# SPDX-License-Identifier: Apache-2.0
"""Traces of requests: which spans, with which attributes, and what they never contain."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from serving_network.gateway import tracing as module
from serving_network.gateway.tracing import Tracing, tracing_of
from tests.gateway.stage import CHAT, Stage, events, plain, streaming

trace_sdk = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")


def recording(*, shows_user: bool = False) -> tuple[Any, Tracing]:
    exporter, provider = memory.InMemorySpanExporter(), trace_sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    return exporter, Tracing(provider.get_tracer("test"), shows_user=shows_user)


def test_a_chat_a_stream_and_a_refusal(stage: Stage) -> None:
    exporter, tracing = recording()
    token = stage.token()

    async def scenario() -> None:
        async with stage.gate(tracing=tracing) as gate:
            await gate.chat(token, messages=[{"role": "user", "content": "a secret question"}])
            gate.model.handle = streaming(events(4))
            await gate.post("/v1/proxy/chat/completions", token, CHAT | {"stream": True})
            gate.model.handle = plain
            await gate.chat(token, model="another")
            await gate.get("/v1/unknown/path")

    asyncio.run(scenario())
    spans = exporter.get_finished_spans()
    requests = [one for one in spans if one.parent is None]
    assert [(one.name, dict(one.attributes)) for one in requests] == [
        (
            "POST chat/completions",
            {
                "http.request.method": "POST",
                "http.route": "chat/completions",
                "gen_ai.request.model": "model-1",
                "gen_ai.usage.input_tokens": 12,
                "gen_ai.usage.output_tokens": tokens,
                "http.response.status_code": 200,
            },
        )
        for tokens in (5, 4)
    ] + [
        (
            name,
            {
                "http.request.method": name.partition(" ")[0],
                "http.route": name.partition(" ")[2],
                "http.response.status_code": 404,
                "error.type": code,
            },
        )
        for name, code in (("POST chat/completions", "model_not_found"), ("GET other", "unknown_route"))
    ]
    for request in requests[:2]:
        below = [one for one in spans if one.parent is not None and one.parent.span_id == request.context.span_id]
        assert [one.name for one in below] == ["model server", "commit"]
        assert all(request.start_time <= one.start_time <= one.end_time for one in below)
    written = json.dumps([json.loads(one.to_json()) for one in spans]).lower()
    for private in ("secret question", "app-sk-", stage.world.user.address.lower(), "127.0.0.1"):
        assert private not in written


def test_users_if_that_is_set_and_failures_of_the_model_server(stage: Stage) -> None:
    exporter, tracing = recording(shows_user=True)

    async def scenario() -> None:
        async with stage.gate(tracing=tracing) as gate:
            gate.model.handle = streaming([b"no JSON"])
            assert (await gate.post("/v1/chat/completions", stage.token(), CHAT))[0] == 502

    asyncio.run(scenario())
    (request,) = (one for one in exporter.get_finished_spans() if one.parent is None)
    assert request.attributes["user.id"] == stage.world.user.address
    assert request.status.status_code.name == "ERROR"


def test_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for environment in (
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
    ):
        with tracing_of(environment, shows_user=False) as tracing:
            assert tracing is None
    with caplog.at_level(logging.WARNING):
        with tracing_of({"OTEL_TRACES_EXPORTER": "other"}, shows_user=False) as tracing:
            assert tracing is None
        monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
        with tracing_of({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, shows_user=False) as tracing:
            assert tracing is None
    assert [one.message.partition(": ")[2] for one in caplog.records] == [
        "no exporter other is installed.",
        "install the extra serving-network[otel].",
    ]


def test_traces_reach_the_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, asked = memory.InMemorySpanExporter(), []

    def installed(**wanted: str) -> list[SimpleNamespace]:
        asked.append(wanted)
        return [SimpleNamespace(load=lambda: lambda: exporter)]

    monkeypatch.setattr(module, "entry_points", installed)
    with tracing_of({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, shows_user=False) as tracing:
        assert tracing is not None
        tracing.begin("GET", "models").end(200, None, None)
    assert asked == [{"group": "opentelemetry_traces_exporter", "name": "otlp_proto_http"}]
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.resource.attributes["service.name"]) == ("GET models", "serving-gateway")
