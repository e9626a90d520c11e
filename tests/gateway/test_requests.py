# SPDX-License-Identifier: Apache-2.0
"""What requests ask, what the model server gets, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_network.gateway.fees import Bounds
from serving_network.gateway.refusals import RequestRefused
from serving_network.gateway.requests import (
    MAX_BODY,
    MAX_MARKS,
    MAX_OUTPUT,
    File,
    PaidForm,
    PaidRequest,
    Terms,
    check_headers,
    read_form,
    read_request,
)
from serving_network.gateway.routes import Route
from tests.gateway.streams import LETTERS
from tests.messages.vectors import REQUEST

TERMS = Terms("mock-model", aliases=frozenset({"gpt-4o"}))
MESSAGES = [{"role": "user", "content": "hi"}]
MINIMAL: dict[Route, dict[str, Any]] = {
    Route.CHAT: {"messages": MESSAGES},
    Route.COMPLETIONS: {"prompt": "hi"},
    Route.RESPONSES: {"input": "hi"},
    Route.MESSAGES: {"messages": MESSAGES},
    Route.EMBEDDINGS: {"input": "hi"},
    Route.IMAGES: {"prompt": "a cat"},
}
TEXT = [route for route in MINIMAL if route.is_text]


def read(route: Route, terms: Terms = TERMS, **more: Any) -> PaidRequest:
    return read_request(route, json.dumps(MINIMAL[route] | more).encode(), terms)


def upstream(route: Route, terms: Terms = TERMS, own_name: str | None = None, **more: Any) -> Any:
    request = read(route, terms, **more)
    return json.loads(sent_of(request, request.bounds.output, own_name))


def sent_of(request: PaidRequest, output: int, own_name: str | None = None) -> bytes:
    return request.payload(output, own_name, continuous_usage=False)


def refusal(route: Route, terms: Terms = TERMS, **more: Any) -> tuple[int, str, str | None]:
    with pytest.raises(RequestRefused) as refused:
        read(route, terms, **more)
    return refused.value.status, refused.value.code, refused.value.param


def test_the_body_of_the_vector_gets_a_bound() -> None:
    request = read_request(Route.CHAT, REQUEST, TERMS)
    assert sent_of(request, 256) == (
        b'{"max_tokens":256,"model":"mock-model","messages":[{"role":"user","content":"hi"}],"store":false}'
    )
    assert (request.stream, request.asks_usage) == (False, False)
    assert request.bounds == Bounds(len(REQUEST) + len(b',"store":false') + 64, 4096, 1, shrinks=True)


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (Route.CHAT, {"messages": MESSAGES, "store": False, "max_tokens": 4096}),
        (Route.COMPLETIONS, {"prompt": "hi", "max_tokens": 4096}),
        (Route.RESPONSES, {"input": "hi", "store": False, "max_output_tokens": 4096}),
        (Route.MESSAGES, {"messages": MESSAGES, "max_tokens": 4096}),
        (Route.EMBEDDINGS, {"input": "hi"}),
        (Route.IMAGES, {"prompt": "a cat"}),
    ],
)
def test_what_the_model_server_gets(route: Route, expected: dict[str, Any]) -> None:
    assert upstream(route) == expected | {"model": "mock-model"}


@pytest.mark.parametrize(
    ("route", "asked", "bound"),
    [
        (Route.CHAT, {"max_tokens": 7}, 7),
        (Route.CHAT, {"max_completion_tokens": 7}, 7),
        (Route.CHAT, {"max_completion_tokens": 7, "max_tokens": 9}, 7),
        (Route.CHAT, {"max_completion_tokens": 9, "max_tokens": 7}, 7),
        (Route.CHAT, {"max_tokens": None}, 4096),
        (Route.CHAT, {"max_tokens": 10**9}, MAX_OUTPUT),
        (Route.COMPLETIONS, {"max_tokens": 1}, 1),
        (Route.RESPONSES, {"max_output_tokens": 7}, 7),
        (Route.MESSAGES, {"max_tokens": 7}, 7),
    ],
)
def test_the_bound_is_the_client_s_and_always_written(route: Route, asked: dict[str, Any], bound: int) -> None:
    request = read(route, **asked)
    assert request.bounds.output == bound
    sent = json.loads(sent_of(request, bound - 1))
    names = {"max_tokens", "max_completion_tokens", "max_output_tokens"} & sent.keys()
    assert names == {"max_output_tokens" if route is Route.RESPONSES else "max_tokens"}
    assert sent[names.pop()] == bound - 1


def test_terms_set_the_bounds_and_the_fields_of_the_model_server() -> None:
    terms = Terms("m", context=1000, default_output_tokens=2000, output_field="max_completion_tokens")
    request = read(Route.CHAT, terms, messages=[{"role": "user", "content": "x" * 5000}])
    assert request.bounds == Bounds(1000, 1000, 1, shrinks=True)
    assert json.loads(sent_of(request, 5))["max_completion_tokens"] == 5
    plain = Terms("m", strip_fields=frozenset({"store", "stream_options", "user"}))
    sent = upstream(Route.CHAT, plain, stream=True, user="u")
    assert sent == {"messages": MESSAGES, "model": "m", "stream": True, "max_tokens": 4096}


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("wrong", [0, -1, 1.0, "7", True, [7], 2.5])
def test_a_bound_is_a_whole_number(name: str, wrong: Any) -> None:
    assert refusal(Route.CHAT, **{name: wrong}) == (400, "invalid_value", name)


def test_a_refusal_names_the_limit() -> None:
    for name, value, message in (
        ("n", 200, "n is not a whole number from 1 to 128."),
        ("max_tokens", 0, "max_tokens is not a whole number from 1."),
        ("stream", 1, "stream is not true or false."),
        ("messages", [], "messages is not a list of messages."),
    ):
        more: dict[str, Any] = {name: value}
        with pytest.raises(RequestRefused) as refused:
            read(Route.CHAT, **more)
        assert str(refused.value) == message


@pytest.mark.parametrize(
    ("route", "asked", "choices"),
    [
        (Route.CHAT, {"n": 3}, 3), (Route.CHAT, {"n": 128}, 128), (Route.CHAT, {"n": None}, 1),
        (Route.COMPLETIONS, {"n": 2, "best_of": 5}, 5), (Route.COMPLETIONS, {"prompt": ["a", "b"], "n": 3}, 6),
        (Route.COMPLETIONS, {"prompt": [1, 2, 3]}, 1), (Route.COMPLETIONS, {"prompt": [[1, 2], [3]], "best_of": 2}, 4),
        (Route.EMBEDDINGS, {"input": ["a", [1], "c"]}, 3),
    ],
)  # fmt: skip
def test_every_choice_of_every_prompt_is_reserved(route: Route, asked: dict[str, Any], choices: int) -> None:
    assert read(route, **asked).bounds.choices == choices


NO_PROMPTS: list[Any] = [
    [], {}, 1, [None], [[]], [["a"]], [1.5], ["a", 1], [True], ["a"] * 2049, [[1, True]],
]  # fmt: skip


@pytest.mark.parametrize(
    ("route", "asked", "param"),
    [
        *((Route.CHAT, {"n": wrong}, "n") for wrong in (0, -1, 129, 1.5, "2", True)),
        (Route.COMPLETIONS, {"best_of": 0}, "best_of"), (Route.IMAGES, {"n": 11}, "n"), (Route.IMAGES, {"n": 0}, "n"),
        *((Route.COMPLETIONS, {"prompt": wrong}, "prompt") for wrong in NO_PROMPTS),
        *((Route.EMBEDDINGS, {"input": wrong}, "input") for wrong in ([], {}, {"url": "http://x"}, [{"text": "a"}])),
        (Route.CHAT, {"stream": "true"}, "stream"), (Route.CHAT, {"stream": 1}, "stream"),
        (Route.CHAT, {"stream_options": []}, "stream_options"),
        (Route.CHAT, {"stream_options": {"other": 1}}, "stream_options"),
        (Route.CHAT, {"stream_options": {"include_usage": "yes"}}, "include_usage"),
    ],
)  # fmt: skip
def test_values_that_bound_the_price_are_checked(route: Route, asked: dict[str, Any], param: str) -> None:
    assert refusal(route, **asked) == (400, "invalid_value", param)


def test_prompts_may_each_fill_the_context() -> None:
    terms = Terms("mock-model", context=100)
    assert read(Route.EMBEDDINGS, terms, input=["a" * 500] * 3).bounds.input == 300
    assert read(Route.EMBEDDINGS, terms, input="a" * 500).bounds.input == 100
    assert read(Route.EMBEDDINGS, terms, input="a").bounds == Bounds(len(b'{"input":"a","model":"mock-model"}') + 64, 0)


def test_images_are_bounded_by_their_number() -> None:
    assert read(Route.IMAGES, n=10).bounds == Bounds(0, 10)
    assert read(Route.IMAGES).bounds == Bounds(0, 1)
    assert upstream(Route.IMAGES, n=2, background="transparent")["background"] == "transparent"


@pytest.mark.parametrize("route", [Route.CHAT, Route.COMPLETIONS])
@pytest.mark.parametrize(
    ("options", "asks"),
    [
        (None, False),
        ({}, False),
        ({"include_usage": False}, False),
        ({"include_usage": None}, False),
        ({"include_usage": True}, True),
    ],
)
def test_usage_is_always_asked_for(route: Route, options: Any, asks: bool) -> None:
    request = read(route, stream=True, stream_options=options)
    assert (request.stream, request.asks_usage) == (True, asks)
    assert json.loads(sent_of(request, 9))["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("asked", [False, True])
def test_usage_in_every_chunk_is_asked_of_servers_that_report_it(asked: bool) -> None:
    request = read(Route.CHAT, stream=True, stream_options={"continuous_usage_stats": asked})
    assert request.asks_continuous_usage is asked
    assert json.loads(request.payload(9, None, continuous_usage=True))["stream_options"] == {
        "include_usage": True,
        "continuous_usage_stats": True,
    }
    for other in (read(Route.CHAT), read(Route.RESPONSES, stream=True)):
        assert "stream_options" not in json.loads(other.payload(9, None, continuous_usage=True))


def test_other_streams_report_usage_unasked() -> None:
    assert "stream_options" not in upstream(Route.RESPONSES, stream=True)
    assert "stream_options" not in upstream(Route.MESSAGES, stream=True)
    assert upstream(Route.RESPONSES, stream=True, stream_options={"include_obfuscation": False})["stream_options"] == {
        "include_obfuscation": False
    }
    for route in (Route.EMBEDDINGS, Route.IMAGES):
        assert refusal(route, stream=True)[1] == "unknown_parameter"
        terms = Terms("mock-model", extra_fields=frozenset({"stream"}))
        assert refusal(route, terms, stream=True)[1] == "unsupported_stream"


@pytest.mark.parametrize("model", ["mock-model", "gpt-4o", None])
def test_the_model_and_its_aliases(model: str | None) -> None:
    assert upstream(Route.CHAT, model=model)["model"] == "mock-model"
    assert upstream(Route.CHAT, TERMS, "/models/llama.gguf", model=model)["model"] == "/models/llama.gguf"


@pytest.mark.parametrize("model", ["other", "", "Mock-Model", "/models/llama.gguf", 1, ["mock-model"], {}])
def test_another_model_is_not_found(model: Any) -> None:
    assert refusal(Route.CHAT, Terms("mock-model"), model=model) == (404, "model_not_found", "model")


@pytest.mark.parametrize("route", [Route.CHAT, Route.RESPONSES])
@pytest.mark.parametrize("store", [True, False, None, 1])
def test_nothing_is_stored_upstream(route: Route, store: Any) -> None:
    assert upstream(route, store=store)["store"] is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("previous_response_id", "resp_1"), ("previous_response_id", ""), ("background", True), ("background", 1),
        ("conversation", "conv_1"), ("conversation", {"id": "conv_1"}), ("prompt", {"id": "pmpt_1"}),
    ],
)  # fmt: skip
def test_stateful_responses_are_refused(name: str, value: Any) -> None:
    assert refusal(Route.RESPONSES, **{name: value}) == (400, "stateful_request", name)


def test_stateful_fields_that_ask_for_nothing_are_removed() -> None:
    sent = upstream(Route.RESPONSES, previous_response_id=None, background=False, conversation=None)
    assert sent == {"input": "hi", "model": "mock-model", "store": False, "max_output_tokens": 4096}


@pytest.mark.parametrize(
    "name",
    [
        "chat_template", "mm_processor_kwargs", "media_io_kwargs", "kv_transfer_params", "priority", "lora_path",
        "lora_request", "lora", "adapter_id", "logits_processors", "custom_logit_processor", "prompt_embeds",
        "cache_salt", "request_id", "rid", "documents", "bootstrap_host", "session_params", "data_parallel_rank",
        "n_predict", "max_new_tokens", "generation_config", "options", "keep_alive", "id_slot", "vllm_xargs", "audio",
        "prompt_logprobs", "echo", "add_generation_prompt", "continue_final_message", "web_search_options",
        "service_tier", "prediction", "modalities", "mcp_servers", "container", "__proto__", "",
    ],
)  # fmt: skip
def test_fields_that_reach_the_host_or_escape_the_bound_are_refused(name: str) -> None:
    for route in (Route.CHAT, Route.RESPONSES, Route.MESSAGES):
        more: dict[str, Any] = {name: {"a": 1}}
        assert refusal(route, **more) == (400, "unknown_parameter", name)


def test_a_provider_can_allow_more_fields() -> None:
    terms = Terms("mock-model", extra_fields=frozenset({"priority"}))
    assert upstream(Route.CHAT, terms, priority=1)["priority"] == 1


def test_ordinary_fields_are_forwarded_unread() -> None:
    fields: dict[str, Any] = {
        "temperature": 0.7, "top_p": 1e-3, "seed": 2**63, "stop": ["\n"], "logit_bias": {"5": -100}, "logprobs": True,
        "response_format": {"type": "json_schema", "json_schema": {"schema": {"properties": {"image_url": {}}}}},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"url": "http://10.0.0.1/"}}}],
        "tool_choice": "auto", "user": "ü\u2028\U0001f600", "top_k": 5, "reasoning_effort": "low",
        "chat_template_kwargs": {"enable_thinking": False},
    }  # fmt: skip
    sent = upstream(Route.CHAT, **fields)
    assert {name: sent[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("route", "fields"),
    [
        (
            Route.CHAT,
            {
                "functions": [], "function_call": "auto", "parallel_tool_calls": False, "top_logprobs": 2, "min_p": 0.1,
                "presence_penalty": 0.1, "frequency_penalty": 0.1, "repetition_penalty": 1.1, "metadata": {"a": "b"},
                "prompt_cache_key": "k", "safety_identifier": "s", "verbosity": "low", "guided_json": {},
                "min_tokens": 2, "ignore_eos": True, "skip_special_tokens": False, "stop_token_ids": [2],
                "reasoning": {"effort": "low"}, "include_reasoning": True, "separate_reasoning": True,
                "structured_outputs": {"choice": ["a"]},
            },
        ),
        (Route.COMPLETIONS, {"suffix": "s", "echo": True, "logprobs": 3, "stop": "a", "seed": 1, "user": "u"}),
        (
            Route.RESPONSES,
            {
                "instructions": "be kind", "temperature": 1, "top_p": 1, "truncation": "disabled", "text": {},
                "reasoning": {}, "include": [], "tool_choice": "auto", "parallel_tool_calls": True, "metadata": {},
                "top_logprobs": 1, "user": "u",
            },
        ),
        (
            Route.MESSAGES,
            {
                "system": "be kind", "stop_sequences": ["a"], "temperature": 1, "top_k": 5, "top_p": 1,
                "tool_choice": {"type": "auto"}, "thinking": {"type": "enabled", "budget_tokens": 9}, "metadata": {},
            },
        ),
        (Route.EMBEDDINGS, {"encoding_format": "base64", "dimensions": 8, "user": "u"}),
        (
            Route.IMAGES,
            {
                "size": "1024x1024", "quality": "hd", "style": "vivid", "response_format": "b64_json", "seed": 1,
                "user": "u", "width": 512, "height": 512, "negative_prompt": "dog", "num_inference_steps": 4,
                "guidance_scale": 3.5, "output_format": "png", "output_compression": 90, "moderation": "auto",
            },
        ),
    ],
)  # fmt: skip
def test_what_ordinary_clients_send_is_forwarded(route: Route, fields: dict[str, Any]) -> None:
    sent = upstream(route, **fields)
    assert {name: sent[name] for name in fields} == fields


@pytest.mark.parametrize(
    "switches",
    [[], "a", {"chat_template": "{{ 1 }}"}, {"tokenize": True}, {"enable_thinking": {"a": 1}}, {"thinking": 1}],
)
def test_template_arguments_are_a_few_switches(switches: Any) -> None:
    assert refusal(Route.CHAT, chat_template_kwargs=switches) == (400, "invalid_value", "chat_template_kwargs")


@pytest.mark.parametrize(
    ("route", "tool"),
    [
        *((Route.RESPONSES, {"type": kind}) for kind in (
            "web_search", "web_search_preview", "file_search", "code_interpreter", "mcp", "image_generation",
            "computer_use_preview", "local_shell", None, 1, ["function"],
        )),
        (Route.CHAT, {"type": "web_search"}), (Route.CHAT, {"type": "mcp", "server_url": "http://10.0.0.1"}),
        (Route.CHAT, "function"), (Route.CHAT, None),
        (Route.MESSAGES, {"type": "web_search_20250305"}), (Route.MESSAGES, {"type": "code_execution_20250522"}),
        (Route.MESSAGES, {"type": "web_fetch_20250910"}), (Route.MESSAGES, {"type": "function"}),
    ],
)  # fmt: skip
def test_tools_that_the_model_server_runs_are_refused(route: Route, tool: Any) -> None:
    assert refusal(route, tools=[tool]) == (400, "unsupported_tool", "tools.0.type")
    assert refusal(route, tools={"0": tool}) == (400, "invalid_value", "tools")


@pytest.mark.parametrize(
    "tools", [[{"name": "f", "input_schema": {}}], [{"type": "custom", "name": "f", "input_schema": {}}], []]
)
def test_tools_that_the_client_runs_are_forwarded(tools: Any) -> None:
    assert upstream(Route.MESSAGES, tools=tools)["tools"] == tools


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'"text"', b"{}x", b"\xff", b'{"messages":[],"messages":[]}', b"{'a':1}",
        b'{"messages":' + b"[" * 101 + b"]" * 101 + b"}", b"[" * 1_000_000, b'{"a":' * 500_000,
        b'{"messages":[{"role":"user","content":"hi"}],"temperature":NaN}',
        b'{"messages":[{"role":"user","content":"hi"}],"temperature":1e999}',
        b'{"messages":[{"role":"user","content":"hi"}],"seed":' + b"9" * 5000 + b"}",
        b'{"messages":[{"role":"user","content":"\\ud800"}]}',
    ],
)  # fmt: skip
def test_a_body_that_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(RequestRefused) as refused:
        read_request(Route.CHAT, body, TERMS)
    assert (refused.value.status, refused.value.code) == (400, "invalid_json")


def test_a_body_has_a_largest_number_of_values() -> None:
    def body(commas: int) -> bytes:
        return json.dumps(MINIMAL[Route.CHAT] | {"user": "," * commas}).encode()

    others = sum(body(0).count(one) for one in (b",", b"[", b"{"))
    assert read_request(Route.CHAT, body(MAX_MARKS - others), TERMS).bounds.output == 4096
    with pytest.raises(RequestRefused, match="values"):
        read_request(Route.CHAT, body(MAX_MARKS - others + 1), TERMS)


def test_the_body_has_a_longest_size() -> None:
    def body(size: int) -> bytes:
        return REQUEST[:-4] + b" " * (size - len(REQUEST)) + REQUEST[-4:]

    assert read_request(Route.CHAT, body(MAX_BODY), TERMS).bounds.output == 4096
    with pytest.raises(RequestRefused) as refused:
        read_request(Route.CHAT, body(MAX_BODY + 1), TERMS)
    assert refused.value.status == 413


@pytest.mark.parametrize(
    ("route", "content_type", "encoding", "length", "status"),
    [
        (Route.CHAT, "application/json", "", 1, None),
        (Route.CHAT, "Application/JSON; charset=utf-8", " Identity", None, None),
        (Route.TRANSCRIPTIONS, 'multipart/form-data; boundary="x"', "", MAX_BODY, None),
        (Route.CHAT, "application/json", "gzip", 1, 415), (Route.CHAT, "application/json", "identity, br", 1, 415),
        (Route.CHAT, "text/plain", "", 1, 415), (Route.CHAT, "", "", 1, 415),
        (Route.CHAT, "multipart/form-data; boundary=x", "", 1, 415),
        (Route.TRANSCRIPTIONS, "application/json", "", 1, 415),
        (Route.CHAT, "application/json", "", MAX_BODY + 1, 413),
    ],
)  # fmt: skip
def test_headers_are_checked_before_the_body(
    route: Route, content_type: str, encoding: str, length: int | None, status: int | None
) -> None:
    if status is None:
        check_headers(route, content_type, encoding, length)
    else:
        with pytest.raises(RequestRefused) as refused:
            check_headers(route, content_type, encoding, length)
        assert refused.value.status == status


def file(size: int = 10, field: str = "file") -> File:
    return File(field, ".wav", "audio/wav", bytes(size))


def test_a_transcription_is_bounded_by_the_size_of_its_file() -> None:
    fields = [("model", "gpt-4o"), ("language", "en"), ("timestamp_granularities[]", "word")]
    fields += [("timestamp_granularities[]", "segment"), ("stream", "True")]
    form = read_form(Route.TRANSCRIPTIONS, fields, [file(2_500_000)], TERMS)
    assert form == PaidForm(
        Route.TRANSCRIPTIONS, True, tuple(fields[1:]), (file(2_500_000),), Bounds(2501, 4096), "mock-model"
    )
    terms = Terms("m", strip_fields=frozenset({"language"}), least_bytes_per_second=1)
    assert read_form(Route.TRANSCRIPTIONS, [("language", "en")], [file(360_000)], terms) == PaidForm(
        Route.TRANSCRIPTIONS, False, (), (file(360_000),), Bounds(356_400, 4096), "m"
    )


def test_edited_images_are_bounded_by_their_number() -> None:
    fields = [("prompt", "a cat"), ("n", "3")]
    files = [file(field="image[]"), file(field="image[]"), file(field="mask")]
    form = read_form(Route.IMAGE_EDITS, fields, files, TERMS)
    assert form == PaidForm(Route.IMAGE_EDITS, False, tuple(fields), tuple(files), Bounds(0, 3), "mock-model")
    assert read_form(Route.IMAGE_EDITS, [], [file(field="image")], TERMS).bounds == Bounds(0, 1)


@pytest.mark.parametrize(
    ("route", "files", "param"),
    [
        (Route.TRANSCRIPTIONS, [], "file"),
        (Route.TRANSCRIPTIONS, ["file", "file"], "file"),
        (Route.TRANSCRIPTIONS, ["file", "lora"], "lora"),
        (Route.IMAGE_EDITS, ["mask"], "image"),
        (Route.IMAGE_EDITS, ["image"] * 18, "image"),
        (Route.IMAGE_EDITS, ["file"], "file"),
    ],
)
def test_the_files_of_a_form_are_checked(route: Route, files: list[str], param: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        read_form(route, [], [file(field=name) for name in files], TERMS)
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize(
    ("route", "fields", "status", "param"),
    [
        (Route.TRANSCRIPTIONS, [("model", "other")], 404, "model"),
        (Route.TRANSCRIPTIONS, [("response_format", "text")], 400, "response_format"),
        (Route.TRANSCRIPTIONS, [("stream", "yes")], 400, "stream"),
        (Route.TRANSCRIPTIONS, [("vllm_xargs", "{}")], 400, "vllm_xargs"),
        (Route.TRANSCRIPTIONS, [("language", "en"), ("language", "de")], 400, "language"),
        (Route.TRANSCRIPTIONS, [("model", "mock-model"), ("model", "other")], 400, "model"),
        *((Route.IMAGE_EDITS, [("n", wrong)], 400, "n") for wrong in ("0", "11", "-1", "", "1.0", "\u0661", "9" * 99)),
        (Route.IMAGE_EDITS, [("stream", "true")], 400, "stream"),
        (Route.IMAGE_EDITS, [("image", "http://10.0.0.1/")], 400, "image"),
    ],
)  # fmt: skip
def test_forms_are_checked_like_bodies(route: Route, fields: list[tuple[str, str]], status: int, param: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        read_form(route, fields, [file(field="image" if route is Route.IMAGE_EDITS else "file")], TERMS)
    assert (refused.value.status, refused.value.param) == (status, param)


LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text(LETTERS, max_size=3)
PART = LEAF | st.dictionaries(st.sampled_from(["type", "text", "image_url", "content"]), LEAF, max_size=2)
JSON = (
    PART | st.lists(PART, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "type"]), PART, max_size=2)
)
NAMES = st.sampled_from(
    ["messages", "prompt", "input", "tools", "stream", "stream_options", "n", "best_of", "max_tokens", "model",
     "system"]
)  # fmt: skip


@given(st.sampled_from(list(MINIMAL)), st.dictionaries(NAMES, JSON, max_size=4))
def test_any_json_is_served_or_refused(route: Route, more: dict[str, Any]) -> None:
    refused: RequestRefused | None = None
    try:
        request = read_request(route, json.dumps(MINIMAL[route] | more).encode(), TERMS)
    except RequestRefused as error:
        refused = error
    else:
        sent = json.loads(sent_of(request, 123))
    if refused:
        assert refused.status in (400, 404)
        assert json.loads(refused.body())["error"]["code"] == refused.code
        return
    assert sent["model"] == "mock-model"
    if route.is_text:
        assert sent["max_output_tokens" if route is Route.RESPONSES else "max_tokens"] == 123
