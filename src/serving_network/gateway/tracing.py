# SPDX-License-Identifier: Apache-2.0
"""Traces of requests with OpenTelemetry, if the extra is installed and the usual variables name an exporter.

A request is a span with its route, status, model and counts of tokens; the wait for the model server and the commit of
the row are spans below it. No body, header, token or address is recorded; the user's address only if that is set.
A client's own trace is not continued: the listener is public, and its sampling is the provider's to choose.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

SERVICE_NAME: Final = "serving-gateway"
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_EXPORTERS: Final = {"otlp": "otlp_proto_http"}
_SERVER_ERROR: Final = 500

_LOG = logging.getLogger("serving_network.gateway")


class Trace:
    """The spans of one request."""

    def __init__(self, tracer: Tracer, method: str, route: str, *, shows_user: bool) -> None:
        from opentelemetry.trace import SpanKind

        self._tracer = tracer
        self._shows_user = shows_user
        attributes = {"http.request.method": method, "http.route": route}
        self._span = tracer.start_span(f"{method} {route}", kind=SpanKind.SERVER, attributes=attributes)
        self._waiting: Span | None = None

    def asks(self, model: str) -> None:
        """A model server is asked for an answer of this model."""
        self._span.set_attribute("gen_ai.request.model", model)
        self._waiting = self._child("model server")

    def answered(self) -> None:
        """The model server's answer begins."""
        if self._waiting is not None:
            self._waiting.end()
            self._waiting = None

    def billed(self, input_tokens: int, output_tokens: int) -> None:
        """The request is billed for these counts."""
        self._span.set_attribute("gen_ai.usage.input_tokens", input_tokens)
        self._span.set_attribute("gen_ai.usage.output_tokens", output_tokens)

    @contextmanager
    def commit(self) -> Iterator[None]:
        """The time until the row is stored."""
        span = self._child("commit")
        try:
            yield
        finally:
            span.end()

    def end(self, status: int, refusal: str | None, user: str | None) -> None:
        """The request is answered."""
        from opentelemetry.trace import StatusCode

        self.answered()
        self._span.set_attribute("http.response.status_code", status)
        if refusal is not None:
            self._span.set_attribute("error.type", refusal)
        if user is not None and self._shows_user:
            self._span.set_attribute("user.id", user)
        if status >= _SERVER_ERROR:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()

    def _child(self, name: str) -> Span:
        from opentelemetry.trace import set_span_in_context

        return self._tracer.start_span(name, context=set_span_in_context(self._span))


TRACE: Final = web.RequestKey("trace", Trace)


def committing(trace: Trace | None) -> AbstractContextManager[None]:
    """The span of a commit, if the request is traced."""
    return nullcontext() if trace is None else trace.commit()


class Tracing:
    """Starts the traces of a gateway."""

    def __init__(self, tracer: Tracer, *, shows_user: bool = False) -> None:
        self._tracer = tracer
        self._shows_user = shows_user

    def begin(self, method: str, route: str) -> Trace:
        """The trace of a request, by the name of its route as metrics know it."""
        return Trace(self._tracer, method, route, shows_user=self._shows_user)


@contextmanager
def tracing_of(environment: Mapping[str, str], *, shows_user: bool) -> Iterator[Tracing | None]:
    """Export traces while the block runs, as the variables OTEL_* say; None if they name no exporter.

    What is queued is exported at the end.
    """
    name = environment.get("OTEL_TRACES_EXPORTER") or ("otlp" if any(map(environment.get, _ENDPOINTS)) else "none")
    if name == "none" or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield None
        return
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        _LOG.warning("Requests are not traced: install the extra serving-network[otel].")
        yield None
        return
    found = entry_points(group="opentelemetry_traces_exporter", name=_EXPORTERS.get(name, name))
    if not found:
        _LOG.warning("Requests are not traced: no exporter %s is installed.", name)
        yield None
        return
    named = "OTEL_SERVICE_NAME" in environment or "service.name" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(resource=Resource.create({} if named else {"service.name": SERVICE_NAME}))
    exporter: Any = next(iter(found)).load()()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield Tracing(provider.get_tracer("serving_network.gateway"), shows_user=shows_user)
    finally:
        provider.shutdown()
