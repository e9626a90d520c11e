# SPDX-License-Identifier: Apache-2.0
"""What a paid request asks: its model, its bounds and the body for the model server; or why it is refused.

The body that goes to the model server always has a bound of the output, so that the request cannot cost more than was
reserved for it. The bound is known only after the reservation, and the name of the model only when a server is chosen:
see `payload`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any, Final, NamedTuple

import aiohttp

from serving_network.gateway.content import read_media
from serving_network.gateway.fees import Bounds
from serving_network.gateway.fields import FIELDS, check_fields, stream_options
from serving_network.gateway.refusals import RequestRefused
from serving_network.gateway.routes import Route
from serving_network.gateway.usage import MAX_SECONDS
from serving_network.untrusted import parse_json

MAX_BODY: Final = 32 * 1024 * 1024
MAX_CHOICES: Final = 128
MAX_IMAGES: Final = 10
MAX_PROMPTS: Final = 2048
MAX_OUTPUT: Final = 2**20
MAX_MARKS: Final = 2**20
"""Commas and brackets in a JSON body. Each can stand for an object of some hundred bytes."""
MAX_FILES: Final = 17

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_OUTPUT_FIELDS: Final = {
    Route.CHAT: ("max_completion_tokens", "max_tokens"),
    Route.COMPLETIONS: ("max_tokens",),
    Route.RESPONSES: ("max_output_tokens",),
    Route.MESSAGES: ("max_tokens",),
}
_STORING: Final = (Route.CHAT, Route.RESPONSES)
_USAGE_CHUNK: Final = (Route.CHAT, Route.COMPLETIONS)
_FILES: Final = {Route.TRANSCRIPTIONS: ("file",), Route.IMAGE_EDITS: ("image", "image[]", "mask")}
"""The files of a form; the first is needed."""


@dataclass(frozen=True)
class Terms:
    """What a service sells, and what its model server takes.

    `template_tokens` is what the model server's chat template adds at most, beyond one token for each byte of the JSON.
    `tokens_per_media` is what a picture counts at most, and what a sound, film or file counts beside its data.
    `least_bytes_per_second` is the lowest rate of audio.
    `output_field` bounds the output of a chat: max_completion_tokens for servers that refuse max_tokens.
    `reads_on`: a stream that its client has left is read for a moment longer, for the usage at its end.
    `strip_fields` are removed before a request is forwarded, for servers that refuse fields that they do not know.
    """

    model: str
    aliases: frozenset[str] = frozenset()
    context: int | None = None
    default_output_tokens: int = 4096
    template_tokens: int = 64
    tokens_per_media: int = 2048
    media_by_url: bool = False
    extra_fields: frozenset[str] = frozenset()
    strip_fields: frozenset[str] = frozenset()
    output_field: str = "max_tokens"
    reads_on: bool = False
    least_bytes_per_second: int = 1000


class File(NamedTuple):
    """A file of a form. Of its name, the model server gets the suffix only."""

    field: str
    suffix: str
    content_type: str
    content: bytes


@dataclass(frozen=True)
class PaidRequest:
    """A request with a JSON body. `asks_usage`: the client asked for the usage of a stream.

    `asks_continuous_usage`: it asked for it in every chunk.
    """

    route: Route
    stream: bool
    asks_usage: bool
    asks_continuous_usage: bool
    bounds: Bounds
    _model: str
    _output_field: str | None
    _stream_options: dict[str, Any] | None
    _encoded: bytes

    @property
    def size(self) -> int:
        """The bytes that it holds in memory."""
        return len(self._encoded)

    def content(self) -> dict[str, Any]:
        """What the model server is sent beside the model, the bound of the output and the options of the stream."""
        content: dict[str, Any] = parse_json(self._encoded)
        return content

    def payload(self, output: int, model: str | None, *, continuous_usage: bool) -> bytes:
        """The body for a model server, with the bound of the output for which money is reserved.

        `model` is the server's own name of the model. `continuous_usage`: ask for the usage in every chunk of a stream.
        """
        head: dict[str, Any] = {} if self._output_field is None else {self._output_field: output}
        head["model"] = model or self._model
        if self._stream_options is not None:
            more = {"continuous_usage_stats": True} if continuous_usage else {}
            head["stream_options"] = self._stream_options | more
        start = _encoded(head)
        return start if self._encoded == b"{}" else start[:-1] + b"," + self._encoded[1:]


@dataclass(frozen=True)
class PaidForm:
    """A request with a form and files. `fields` are the form's text fields for the model server."""

    route: Route
    stream: bool
    fields: tuple[tuple[str, str], ...]
    files: tuple[File, ...]
    bounds: Bounds
    _model: str
    asks_usage = asks_continuous_usage = True

    @property
    def size(self) -> int:
        """The bytes that it holds in memory."""
        return sum(len(one.content) for one in self.files)

    def payload(self, output: int, model: str | None, *, continuous_usage: bool) -> aiohttp.FormData:  # noqa: ARG002
        """The form for a model server, which takes no bound and reports its usage unasked."""
        form = aiohttp.FormData(default_to_multipart=True)
        form.add_field("model", model or self._model)
        for name, value in self.fields:
            form.add_field(name, value)
        for one in self.files:
            form.add_field(one.field, BytesIO(one.content), filename="file" + one.suffix, content_type=one.content_type)
        return form


def check_headers(route: Route, content_type: str, content_encoding: str, length: int | None) -> None:
    """Check the headers of a request before its body is read. Raises RequestRefused with 413 or 415."""
    if content_encoding.strip().lower() not in ("", "identity"):
        raise RequestRefused(
            415,
            "unsupported_content_encoding",
            "The body is compressed.",
            next_step="Send it without Content-Encoding.",
        )
    wanted = "multipart/form-data" if route.is_multipart else "application/json"
    if content_type.partition(";")[0].strip().lower() != wanted:
        raise RequestRefused(415, "unsupported_content_type", f"The Content-Type is not {wanted}.")
    if length is not None:
        check_size(length)


def check_size(length: int) -> None:
    """Check the length of a body. Raises RequestRefused with 413."""
    if length > MAX_BODY:
        raise RequestRefused(413, "body_too_large", f"The body is longer than {MAX_BODY // 2**20} MiB.")


def read_request(route: Route, body: bytes, terms: Terms) -> PaidRequest:
    """Read a JSON request. Raises RequestRefused."""
    content = _parsed(body)
    check_fields(route, content, terms.extra_fields)
    _check_model(content.pop("model", None), terms)
    stream = _boolean(content, "stream")
    if stream and not route.is_text:
        raise RequestRefused(400, "unsupported_stream", "This route does not stream.", param="stream")
    options = stream_options(content)
    asks_usage = _boolean(options, "include_usage")
    if route in _USAGE_CHUNK:
        content.pop("stream_options", None)
        options = options | {"include_usage": True}
    if route in _STORING:
        content["store"] = False
    media = read_media(route, content, by_url=terms.media_by_url)
    prompts, choices = _prompts(route, content), _choices(route, content)
    output, output_field = _take_output(route, content, terms)
    encoded = _encoded({name: value for name, value in content.items() if name not in terms.strip_fields})
    text = len(encoded) + _model_length(terms.model) - 1 - media.picture_characters
    of_input = text + terms.template_tokens + media.items * terms.tokens_per_media
    if terms.context is not None:
        of_input = min(of_input, prompts * terms.context)
    bounds = Bounds(of_input, output, prompts * choices, shrinks=route.is_text)
    if route is Route.IMAGES:
        bounds = Bounds(0, choices)
    sends_options = stream and route in _USAGE_CHUNK and "stream_options" not in terms.strip_fields
    return PaidRequest(
        route,
        stream,
        asks_usage,
        _boolean(options, "continuous_usage_stats"),
        bounds,
        terms.model,
        output_field,
        options if sends_options else None,
        encoded,
    )


def read_form(route: Route, fields: Sequence[tuple[str, str]], files: Sequence[File], terms: Terms) -> PaidForm:
    """Read a form. Raises RequestRefused."""
    seen: set[str] = set()
    for name, _ in fields:
        if name not in FIELDS[route] | terms.extra_fields:
            raise RequestRefused(400, "unknown_parameter", f"{name} is not a parameter of this gateway.", param=name)
        if name in seen and not name.endswith("[]"):
            raise RequestRefused(400, "invalid_value", f"{name} is given twice.", param=name)
        seen.add(name)
    _check_files(route, files)
    content = dict(fields)
    _check_model(content.get("model"), terms)
    forwarded = tuple((name, value) for name, value in fields if name != "model" and name not in terms.strip_fields)
    if route is Route.IMAGE_EDITS:
        images = content.get("n", "1")
        if not (images.isascii() and images.isdecimal() and len(images) < 4):
            raise _wrong("n", f"a whole number from 1 to {MAX_IMAGES}")
        bounds = Bounds(0, _whole(int(images), "n", MAX_IMAGES))
        return PaidForm(route, False, forwarded, tuple(files), bounds, terms.model)
    if content.get("response_format") == "text":
        raise RequestRefused(
            400,
            "not_metered",
            "The response_format text does not say how long the audio is, so it cannot be billed.",
            param="response_format",
            next_step="Use json or verbose_json.",
        )
    if (stream := content.get("stream", "false").lower()) not in ("true", "false"):
        raise _wrong("stream", "true or false")
    size = sum(len(one.content) for one in files)
    bounds = Bounds(min(size // terms.least_bytes_per_second + 1, MAX_SECONDS), terms.default_output_tokens)
    return PaidForm(route, stream == "true", forwarded, tuple(files), bounds, terms.model)


def _check_files(route: Route, files: Sequence[File]) -> None:
    names = [one.field for one in files]
    known = _FILES[route]
    if unknown := next((name for name in names if name not in known), None):
        raise RequestRefused(
            400, "unknown_parameter", f"{unknown} is not a file that this gateway takes.", param=unknown
        )
    needed = known[0]
    if not any(name.removesuffix("[]") == needed for name in names):
        raise RequestRefused(400, "missing_parameter", f"The form has no file {needed}.", param=needed)
    if route is Route.TRANSCRIPTIONS and len(files) > 1:
        raise _wrong(needed, "one file")
    if len(files) > MAX_FILES:
        raise _wrong(needed, f"a list of at most {MAX_FILES} files")


def _parsed(body: bytes) -> dict[str, Any]:
    """The body's object without fields that are null, which mean the same as absent ones."""
    check_size(len(body))
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_MARKS:
        raise RequestRefused(400, "invalid_json", f"The body has more than {MAX_MARKS} values.")
    try:
        content = parse_json(body)
    except ValueError as error:
        raise RequestRefused(400, "invalid_json", f"The body is not JSON that can be read: {error}.") from error
    if not isinstance(content, dict):
        raise RequestRefused(400, "invalid_json", "The body is not a JSON object.")
    return {name: value for name, value in content.items() if value is not None}


def _encoded(content: dict[str, Any]) -> bytes:
    try:
        return _ENCODER.encode(content).encode()
    except ValueError as error:
        raise RequestRefused(
            400, "invalid_json", "The body has a number that is too large or text that is not Unicode."
        ) from error


@lru_cache(16)
def _model_length(model: str) -> int:
    """The bytes of a body that names a model and nothing else."""
    return len(_encoded({"model": model}))


def _check_model(model: Any, terms: Terms) -> None:
    """Check that a request names the service's model, or none. Raises RequestRefused with 404."""
    if model is None or (isinstance(model, str) and (model == terms.model or model in terms.aliases)):
        return
    raise RequestRefused(
        404,
        "model_not_found",
        f"This service has no model {model if isinstance(model, str) else 'of that name'}.",
        param="model",
        next_step=f"Its model is {terms.model}.",
    )


def _prompts(route: Route, content: dict[str, Any]) -> int:
    """How many texts a request gives: completions and embeddings take a text, tokens, or a list of either."""
    if route not in (Route.COMPLETIONS, Route.EMBEDDINGS):
        return 1
    name = "prompt" if route is Route.COMPLETIONS else "input"
    prompt = content.get(name)
    if isinstance(prompt, str):
        return 1
    if not isinstance(prompt, list) or not prompt:
        raise _wrong(name, "text, or a list of texts or tokens")
    if all(type(one) is int for one in prompt):
        return 1
    if len(prompt) > MAX_PROMPTS or not all(
        isinstance(one, str) or (isinstance(one, list) and one and all(type(token) is int for token in one))
        for one in prompt
    ):
        raise _wrong(name, f"text, or a list of at most {MAX_PROMPTS} texts or of tokens")
    return len(prompt)


def _choices(route: Route, content: dict[str, Any]) -> int:
    """How many answers are generated for each prompt."""
    most = MAX_IMAGES if route is Route.IMAGES else MAX_CHOICES
    names = [name for name in ("n", "best_of") if name in content and name in FIELDS[route]]
    return max((_whole(content[name], name, most) for name in names), default=1)


def _take_output(route: Route, content: dict[str, Any], terms: Terms) -> tuple[int, str | None]:
    """Take the bound of the output from the content; returns it, and the field in which the model server takes it."""
    names = _OUTPUT_FIELDS.get(route)
    if names is None:
        return 0, None
    most = min(terms.context or MAX_OUTPUT, MAX_OUTPUT)
    given = [min(_whole(content.pop(name), name, None), most) for name in names if name in content]
    return min(given, default=min(terms.default_output_tokens, most)), (
        terms.output_field if route is Route.CHAT else names[0]
    )


def _boolean(content: dict[str, Any], name: str) -> bool:
    value = content.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise _wrong(name, "true or false")
    return value


def _whole(value: Any, name: str, most: int | None) -> int:
    if type(value) is not int or value < 1 or (most is not None and value > most):
        raise _wrong(name, f"a whole number from 1 to {most}" if most else "a whole number from 1")
    return value


def _wrong(name: str, expected: str) -> RequestRefused:
    return RequestRefused(400, "invalid_value", f"{name} is not {expected}.", param=name)
